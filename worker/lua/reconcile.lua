-- After an error on the step connection: what does the worker hold that it does not know of, and what does it know of
-- that it holds no longer?
-- ARGV: worker, no, lease ms, delivery ids that the worker knows
-- Reply: OK, m, m known ids that are not held, then pairs: unknown delivery id, frame | FENCED | STALE
local worker, no, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local seen = call('HGET', HELD, 'no')
if not seen then return {'FENCED'} end
if no <= tonumber(seen) then return {'STALE'} end
call('HSET', HELD, 'no', ARGV[2])
call('ZADD', WORKERS, now + lease, worker)
local reply = {'OK', 0}
local known = {no = true, claimed = true, done = true, retried = true, dead = true}
for i = 4, #ARGV do
  known[ARGV[i]] = true
  if call('HEXISTS', HELD, ARGV[i]) == 0 then
    reply[2] = reply[2] + 1
    reply[#reply + 1] = ARGV[i]
  end
end
local held = call('HGETALL', HELD)
for i = 1, #held, 2 do
  if not known[held[i]] then
    reply[#reply + 1] = held[i]
    reply[#reply + 1] = held[i + 1]
  end
end
return reply
