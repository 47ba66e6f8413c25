-- Makes a worker known: its in-flight hash and its lease. An id is good for one life: after a lost reply draw a new one.
-- ARGV: worker, lease ms
-- Reply: OK | TAKEN
local worker, lease = ARGV[1], tonumber(ARGV[2])
if call('EXISTS', HELD) == 1 or call('ZSCORE', WORKERS, worker) then return {'TAKEN'} end
call('HSET', HELD, 'no', 0, 'claimed', 0, 'done', 0, 'retried', 0, 'dead', 0)
call('ZADD', WORKERS, now + lease, worker)
return {'OK'}
