-- Deletes dead letters.
-- ARGV: stream ids
-- Reply: for each of them: OK | GONE (no such dead letter)
check_types()
local reply = {}
for i = 1, #ARGV do
  local letter = call('XRANGE', DEAD, ARGV[i], ARGV[i])[1]
  reply[i] = letter and 'OK' or 'GONE'
  if letter then
    call('XDEL', DEAD, ARGV[i])
    call('HINCRBY', COUNTERS, 'dead_bytes', -weight(letter[2]))
  end
end
return reply
