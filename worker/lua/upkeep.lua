-- Names the workers whose lease has run out. If nobody has asked for long, Redis itself was away and everybody's lease
-- looks over: then a grace of one lease starts, in which nobody is named.
-- ARGV: outage ms, grace ms
-- Reply: workers
local outage, grace = tonumber(ARGV[1]), tonumber(ARGV[2])
local tick = tonumber(call('ZSCORE', WORKERS, '*tick') or 0)
if now - tick > outage then call('ZADD', WORKERS, now + grace, '*grace') end
call('ZADD', WORKERS, now, '*tick')
if now < tonumber(call('ZSCORE', WORKERS, '*grace') or 0) then return {} end
local expired = {}
for _, worker in ipairs(call('ZRANGEBYSCORE', WORKERS, '-inf', now, 'LIMIT', 0, 100)) do
  if worker:sub(1, 1) ~= '*' then expired[#expired + 1] = worker end
end
return expired
