-- Makes the results of tasks that are about to be sent.
-- ARGV: for each ten: id, ms until its task is due, ms to keep the result once it has ended, how many ended results the
--       queue keeps, then what is known of the task: path, backend, queue, priority, run_after, data as JSON
-- Reply: now, in ms of Redis TIME
for i = 1, #ARGV, 10 do
  local id, due, ttl, cap, path, backend, queue, priority, run_after, data = unpack(ARGV, i, i + 9)
  local key = key_of('result', id)
  call('DEL', key)
  call('HSET', key, 'status', 'READY', 'enqueued', now, 'ttl', ttl, 'cap', cap, 'path', path, 'backend', backend,
       'queue', queue, 'priority', priority, 'run_after', run_after, 'data', data)
  call('PEXPIRE', key, due + ttl + ENDLESS)
end
return now
