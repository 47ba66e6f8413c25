-- Tells whether anything is left to do: waiting, scheduled, or in flight at any worker of any host.
-- ARGV: none
-- Reply: 1 (nothing is left) | 0
if call('LLEN', QUEUE) + call('LLEN', HANDOFF) + call('LLEN', SUSPECTS) > 0 then return 0 end
if call('ZCARD', SCHEDULED) + call('ZCARD', PRIORITY) + call('ZCARD', DEFERRED) > 0 then return 0 end
for _, worker in ipairs(call('ZRANGE', WORKERS, 0, -1)) do
  if worker:sub(1, 1) ~= '*' and call('HLEN', key_of('inflight', worker)) > META then return 0 end
end
return 1
