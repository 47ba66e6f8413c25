-- Shows what a queue has done in the last minutes, and the element of its list that has waited longest.
-- ARGV: how many minutes, this one included; bytes to show of the element
-- Reply: now, the element's first bytes ('' if none waits), its size, then for each minute, the oldest first: fields and
--        numbers as lua/card.lua has them
local minutes, cut = tonumber(ARGV[1]), tonumber(ARGV[2])
local this = math.floor(now / 60000)

local function oldest(list)
  for _, element in ipairs({call('LINDEX', list, -1) or '', call('LINDEX', list, -2) or ''}) do
    if element ~= '' then return element end -- a bell
  end
end

local element = oldest(HANDOFF) or oldest(QUEUE) or ''
local reply = {now, element:sub(1, cut), #element}
for minute = this - minutes + 1, this do
  reply[#reply + 1] = call('HGETALL', key_of('minute', minute))
end
return reply
