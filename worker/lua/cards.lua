-- Shows the workers of all hosts.
-- ARGV: how many at most
-- Reply: workers in all, then for each: worker, ms until its lease ends (negative: it is over), tasks it holds, ms for
--        which its card is still good, its card ('' if it has none)
local most, workers, reply = tonumber(ARGV[1]), 0, {0}
for _, worker in ipairs(call('ZRANGE', WORKERS, 0, -1)) do
  if worker:sub(1, 1) ~= '*' then
    workers = workers + 1
    if workers <= most then
      local card = key_of('card', worker)
      reply[#reply + 1] = worker
      reply[#reply + 1] = call('ZSCORE', WORKERS, worker) - now
      reply[#reply + 1] = math.max(0, call('HLEN', key_of('inflight', worker)) - META)
      reply[#reply + 1] = call('PTTL', card)
      reply[#reply + 1] = call('GET', card) or ''
    end
  end
end
reply[1] = workers
return reply
