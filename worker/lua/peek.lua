-- Shows what waits, in the order in which it will be taken, and takes nothing.
-- ARGV: how many, bytes to show of each
-- Reply: pairs: bytes of the payload, its first bytes
local count, cut = tonumber(ARGV[1]), tonumber(ARGV[2])
local CHUNK = 20
local reply = {}
for _, list in ipairs({HANDOFF, QUEUE}) do
  local seen = 0
  repeat
    local chunk = call('LRANGE', list, -seen - CHUNK, -seen - 1)
    for i = #chunk, 1, -1 do
      if #reply == 2 * count then return reply end
      if chunk[i] ~= '' then
        reply[#reply + 1] = #chunk[i]
        reply[#reply + 1] = chunk[i]:sub(1, cut)
      end
    end
    seen = seen + CHUNK
  until #chunk < CHUNK
end
return reply
