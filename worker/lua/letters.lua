-- Reads one page of the dead letters.
-- ARGV: where to begin and where to end, as XRANGE has it, or XREVRANGE for newest first; newest first (0|1), how many,
--       bytes of payload that a page may have (one letter always fits), bytes to show of each
-- Reply: stream id, fields of each; an empty page is the end
local first, last, read = ARGV[1], ARGV[2], ARGV[3] == '1' and 'XREVRANGE' or 'XRANGE'
local count, bytes, cut = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local CHUNK = 20

local reply = {}
while true do
  local chunk = call(read, DEAD, first, last, 'COUNT', CHUNK)
  for _, letter in ipairs(chunk) do
    local id, fields = letter[1], letter[2]
    for i = 1, #fields, 2 do
      if fields[i] == 'payload' then
        bytes = bytes - #fields[i + 1]
        if #reply > 0 and bytes < 0 then return reply end
        fields[i + 1] = fields[i + 1]:sub(1, cut)
      end
    end
    reply[#reply + 1] = id
    reply[#reply + 1] = fields
    if #reply == 2 * count then return reply end
    first = '(' .. id
  end
  if #chunk < CHUNK then return reply end
end
