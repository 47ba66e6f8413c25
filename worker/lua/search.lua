-- Looks through some of the dead letters for those of a reason and with a text in their payload. The caller looks closer.
-- ARGV: where to begin and where to end, as XRANGE has it, or XREVRANGE for newest first; newest first (0|1), how many,
--       letters to look at, bytes of payload to look at (one letter always is), reason or '', text or '', task id or '';
--       bytes of payload to show of each
--       A letter has the text if its payload does, or has a backslash: then the text may be written in another way. It
--       is of the id if its task is, or if its payload has the text.
-- Reply: letters looked at, stream id of the last of them ('' if the end was reached), then stream id, fields of each
local first, last, read = ARGV[1], ARGV[2], ARGV[3] == '1' and 'XREVRANGE' or 'XRANGE'
local count, most, bytes = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local reason, text, id, cut = ARGV[7], ARGV[8], ARGV[9], tonumber(ARGV[10])
local CHUNK = 20

local function is_wanted(field)
  if reason ~= '' and field.reason ~= reason then return false end
  if text == '' or (id ~= '' and field.id == id) then return true end
  local payload = field.payload or ''
  return payload:find(text, 1, true) ~= nil or payload:find('\\', 1, true) ~= nil
end

local seen, reply = 0, {0, ''}
while true do
  local chunk = call(read, DEAD, first, last, 'COUNT', CHUNK)
  for _, letter in ipairs(chunk) do
    local field, fields = {}, letter[2]
    for i = 1, #fields, 2 do field[fields[i]] = fields[i + 1] end
    seen, bytes = seen + 1, bytes - #(field.payload or '')
    reply[1], reply[2], first = seen, letter[1], '(' .. letter[1]
    if is_wanted(field) then
      for i = 1, #fields, 2 do
        if fields[i] == 'payload' then fields[i + 1] = fields[i + 1]:sub(1, cut) end
      end
      reply[#reply + 1] = letter[1]
      reply[#reply + 1] = fields
    end
    if #reply == 2 * count + 2 or seen == most or bytes < 0 then return reply end
  end
  if #chunk < CHUNK then
    reply[2] = ''
    return reply
  end
end
