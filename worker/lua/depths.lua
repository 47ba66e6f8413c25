-- Counts what lies where. Bells are not tasks; they lie at the head, or elements would have been taken before them.
-- ARGV: none
-- Reply: waiting, handed off, scheduled (with a priority, too), priority, suspects, in flight over all workers, workers,
--        dead letters, their bytes, dead letters dropped to stay below the caps
local function tasks(list) return call('LLEN', list) - #call('LPOS', list, '', 'RANK', -1, 'COUNT', 0, 'MAXLEN', 100) end

local workers, held = 0, 0
for _, worker in ipairs(call('ZRANGE', WORKERS, 0, -1)) do
  if worker:sub(1, 1) ~= '*' then
    workers = workers + 1
    held = held + math.max(0, call('HLEN', key_of('inflight', worker)) - META)
  end
end
local bytes, dropped = unpack(call('HMGET', COUNTERS, 'dead_bytes', 'dead_dropped'))
local scheduled = call('ZCARD', SCHEDULED) + call('ZCARD', DEFERRED)
return {tasks(QUEUE), tasks(HANDOFF), scheduled, call('ZCARD', PRIORITY), call('LLEN', SUSPECTS), held, workers,
        call('XLEN', DEAD), tonumber(bytes or 0), tonumber(dropped or 0)}
