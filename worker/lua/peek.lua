-- Shows what waits, in the order in which it will be taken, and takes nothing. What is put off is not shown.
-- ARGV: how many, bytes to show of each
-- Reply: triples: priority, bytes of the payload, its first bytes
local count, cut = tonumber(ARGV[1]), tonumber(ARGV[2])
local CHUNK = 20
local reply = {}

local function show(priority, payload)
  reply[#reply + 1] = priority
  reply[#reply + 1] = #payload
  reply[#reply + 1] = payload:sub(1, cut)
end

local function show_priorities(first, last)
  for _, frame in ipairs(call('ZRANGEBYSCORE', PRIORITY, first, last, 'LIMIT', 0, count - #reply / 3)) do
    local id, _, _, _, payload, place = split(frame)
    local _, priority = score_of(place or '')
    show(priority or 0, id and payload or frame)
  end
end

local function show_list(list)
  local seen = 0
  repeat
    local chunk = call('LRANGE', list, -seen - CHUNK, -seen - 1)
    for i = #chunk, 1, -1 do
      if #reply == 3 * count then return end
      if chunk[i] ~= '' then show(0, chunk[i]) end
    end
    seen = seen + CHUNK
  until #chunk < CHUNK
end

show_priorities('-inf', '(0')
show_list(HANDOFF)
show_list(QUEUE)
show_priorities('(0', '+inf')
return reply
