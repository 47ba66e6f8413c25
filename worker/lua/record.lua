-- Records how tasks fare that want a result. A repeated call changes nothing, nor does a run that another has replaced.
-- ARGV: worker, then for each record seven:
--       'start', id, run (names the delivery), path, frame (names the attempt), '', ''
--       'end', id, run, status, value (of READY: ms until the next attempt), reason, error as JSON or ''
-- Reply: for each start: false (there is no such result), or: how it had ended already, or '', then the reason, and of
--        the result: enqueued, started, last, attempts, workers, backend, queue, priority, run_after, errors;
--        for each end: 1, or 0 if the run is another's by now
local worker = ARGV[1]
local MOST_WORKERS = 20
local SHOWN = {'enqueued', 'started', 'last', 'attempts', 'workers', 'backend', 'queue', 'priority', 'run_after', 'errors'}

local function start(id, run, path, frame)
  local key = key_of('result', id)
  if call('TYPE', key).ok ~= 'hash' then return false end
  local status, its_path, its_run, its_frame, reason, attempts, workers =
    unpack(call('HMGET', key, 'status', 'path', 'run', 'frame', 'reason', 'attempts', 'workers'))
  if its_path ~= path then return false end
  local is_over = status == 'SUCCESSFUL' or status == 'FAILED' and its_frame == frame
  if not is_over and its_run ~= run then
    workers = (workers or '') .. worker .. ' '
    while select(2, workers:gsub(' ', ' ')) > MOST_WORKERS do workers = workers:match(' (.*)') end
    call('HDEL', key, 'finished', 'reason')
    call('HSET', key, 'status', 'RUNNING', 'run', run, 'frame', frame, 'last', now, 'workers', workers,
         'attempts', number_of(attempts, 0) + 1)
    call('HSETNX', key, 'started', now)
    keep_result(id, key, 0)
  end
  return {is_over and status or '', reason or '', unpack(call('HMGET', key, unpack(SHOWN)))}
end

local function finish(id, run, status, value, reason, error)
  local key = key_of('result', id)
  if call('TYPE', key).ok ~= 'hash' or call('HGET', key, 'run') ~= run then return 0 end
  if error ~= '' then add_error(key, error) end
  if status == 'READY' then
    call('HSET', key, 'status', status, 'run', '')
    keep_result(id, key, value)
    return 1
  end
  call('HSET', key, 'value', value, 'reason', reason)
  end_result(id, key, status)
  return 1
end

local reply = {}
for i = 2, #ARGV, 7 do
  local kind, id, run, a, b, c, d = unpack(ARGV, i, i + 6)
  reply[#reply + 1] = kind == 'start' and start(id, run, a, b) or kind == 'end' and finish(id, run, a, b, c, d)
end
return reply
