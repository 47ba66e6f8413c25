-- Gives back everything that a gone worker holds, and forgets the worker.
-- ARGV: worker, why, detail (how it ended, for dead letters), outage ms
--   why = dead     proof of death: crashes + 1
--       | left     it drained, or its parent ended it on purpose: not the tasks' fault
--       | expired  its lease ran out; checked here, because the caller may have decided long ago: crashes + 1
-- Reply: OK, given back, dead-lettered, then the worker's own counters: claimed, done, retried, dead
--      | GONE (somebody else did it) | ALIVE (expired, but the lease is good, or a grace after an outage runs)
local worker, why, detail, outage = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
check_types()
if why == 'expired' then
  local lease = tonumber(call('ZSCORE', WORKERS, worker) or 0)
  local tick = tonumber(call('ZSCORE', WORKERS, '*tick') or 0)
  local grace = tonumber(call('ZSCORE', WORKERS, '*grace') or 0)
  if lease > now or now - tick > outage or grace > now then return {'ALIVE'} end
end
-- Its turn to run empty for a suspect is over: the next one need not wait until it would have been.
if call('ZREM', WORKERS, '*alone ' .. worker) == 1 then call('ZREM', WORKERS, '*alone') end
local held = call('HGETALL', HELD)
if #held == 0 then
  call('ZREM', WORKERS, worker)
  return {'GONE'}
end

local counted = why == 'left' and 0 or 1
local alone = #held / 2 == META + 1
local counters, back, buried = {claimed = 0, done = 0, retried = 0, dead = 0}, 0, 0
for i = 1, #held, 2 do
  local frame = held[i + 1]
  local id, attempt, crashes, size, payload, place = split(frame)
  if not id then
    counters[held[i]] = tonumber(frame) or 0
  else
    crashes = crashes + counted
    local changed = join(id, attempt, crashes, size, payload, place)
    if counted == 1 and alone and crashes >= DEAD_AFTER then
      bury(changed, worker, 'crashed', detail)
      buried = buried + 1
    else
      if crashes >= SUSPECT_AFTER then
        call('LPUSH', SUSPECTS, changed)
      elseif place ~= '' then
        put(PRIORITY, score_of(place), id, attempt, crashes, size, payload, place)
      else
        put(SCHEDULED, now, id, attempt, crashes, size, payload, '')
      end
      await_result(payload, 'RUNNING')
      back = back + 1
    end
  end
end
call('DEL', HELD)
call('ZREM', WORKERS, worker)
if back > 0 then ring() end
return {'OK', back, buried, counters.claimed, counters.done, counters.retried, counters.dead}
