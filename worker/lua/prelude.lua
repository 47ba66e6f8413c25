-- Stands before every other script.
-- KEYS: queue, handoff, scheduled, priority, deferred, suspects, dead, counters, workers, in-flight hash of the worker
--       at hand
--
-- The data of one queue:
--   queue      LIST    raw payloads, LPUSHed by anybody and taken from the right; '' is a bell: it wakes and is dropped
--   handoff    LIST    payloads moved by anybody's blocking wait; the head of the queue
--   scheduled  ZSET    frame -> due, in ms of Redis TIME
--   priority   ZSET    frame -> score of its place; below 0 goes before the list, above 0 after it
--   deferred   ZSET    frame of a task with a priority -> due, in ms; its fraction keeps those of one ms in order
--   suspects   LIST    frames that were in flight in two crashes; each runs alone
--   dead       STREAM  dead letters, capped by count and bytes
--   counters   HASH    dead_bytes, dead_dropped, sequence (of places)
--   workers    ZSET    worker -> end of its lease in ms; and marks: *tick, *grace (of upkeep); *alone and
--                      "*alone WORKER": until when that worker has the turn to run empty for a suspect
--   in-flight  HASH    delivery id -> frame; and META fields: no (last request number), claimed, done, retried, dead
--   result     HASH    under :result:ID, with a TTL: how a task that wants a result fares; record.lua and expect.lua
--   results    ZSET    id -> when its result expires, in ms: the results that have ended, capped by count
-- A frame is 'id attempt crashes[ size][ place]', a newline, and the payload; size stands there if only the payload's
-- first bytes follow, because the whole is too large to travel and lies under the oversized key of that id. place is
-- 'p<priority>.<number>': -100 to 100 without 0, higher is sooner; and within one priority, lower numbers are sooner.
local QUEUE, HANDOFF, SCHEDULED, PRIORITY, DEFERRED, SUSPECTS, DEAD, COUNTERS, WORKERS, HELD = unpack(KEYS)
local META = 5
local SUSPECT_AFTER, DEAD_AFTER = 2, 5          -- crashes in company, crashes in all
local DEAD_MOST, DEAD_MOST_BYTES = 100000, 268435456
local WHOLE, HEAD = 1048576, 4096                -- bytes of a payload kept whole in the dead letters, or else of its head
local STRIDE = 35184372088832                    -- 2^45: scores from one priority to the next; numbers are lower
local call = redis.call

-- A first write that is not refused when memory is full lets the rest of the script run then, too.
call('ZREM', WORKERS, '')
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- One read of every key before the first real write: a key of a wrong type fails here, with nothing done.
local function check_types()
  call('LLEN', QUEUE) call('LLEN', HANDOFF) call('ZCARD', SCHEDULED) call('ZCARD', PRIORITY)
  call('ZCARD', DEFERRED) call('LLEN', SUSPECTS) call('XLEN', DEAD) call('HLEN', COUNTERS) call('HLEN', HELD)
end

-- Returns the score of a place among the priorities, and the priority; nothing for a forged one.
local function score_of(place)
  local priority, number = place:match('^p(%-?%d%d?%d?)%.(%d+)$')
  priority = tonumber(priority)
  if not priority or priority == 0 or math.abs(priority) > 100 or #number > 13 then return nil end
  return number - priority * STRIDE, priority
end

local function split(frame)
  local id, attempt, crashes, tail, payload = frame:match('^([%w%.:_-]+) (%d+) (%d+)([^\n]*)\n(.*)$')
  -- Longer numbers are forged; Lua would write them as 1e+15, which nobody can read any more.
  if not id or #attempt > 9 or #crashes > 9 then return nil end
  if tail == '' then return id, attempt, crashes, '', payload, '' end
  local size = tail:match('^ (%d+)') or ''
  local place = tail:sub(size == '' and 2 or #size + 3)
  local is_whole = tail == (size ~= '' and ' ' .. size or '') .. (place ~= '' and ' ' .. place or '')
  if not is_whole or #size > 12 or (place ~= '' and not score_of(place)) then return nil end
  return id, attempt, crashes, size, payload, place
end

local function join(id, attempt, crashes, size, payload, place)
  return id .. ' ' .. attempt .. ' ' .. crashes .. (size ~= '' and ' ' .. size or '')
         .. (place ~= '' and ' ' .. place or '') .. '\n' .. payload
end

local function next_number()
  local last = call('HGET', COUNTERS, 'sequence')
  if last and not (#last < 13 and last:find('^%d+$')) then call('HSET', COUNTERS, 'sequence', 0) end -- spoiled
  return call('HINCRBY', COUNTERS, 'sequence', 1)
end

-- Adds a frame to a sorted set. Two tasks may have one id and one payload, but must not become one member.
local function put(key, score, id, ...)
  while call('ZADD', key, 'NX', score, join(id, ...)) == 0 do id = id:sub(1, 480) .. '.' .. next_number() end
end

-- Has a task wait for its time, and then for its turn: behind what is ready by then and has the same priority.
local function line_up(delay, priority, id, attempt, crashes, size, payload)
  if priority == 0 then return put(SCHEDULED, now + delay, id, attempt, crashes, size, payload, '') end
  local number = next_number()
  local place = 'p' .. priority .. '.' .. number
  -- Behind those whose time has come, too, though no step has seen it yet.
  if delay <= 0 and #call('ZRANGEBYSCORE', DEFERRED, '-inf', '(' .. now + 1, 'LIMIT', 0, 1) == 0 then
    put(PRIORITY, score_of(place), id, attempt, crashes, size, payload, place)
  else
    put(DEFERRED, now + delay + number % 4096 / 4096, id, attempt, crashes, size, payload, place)
  end
end

-- Returns a key of this queue that is not among KEYS.
local function key_of(kind, name)
  return HELD:match('^(.*):inflight:') .. ':' .. kind .. (name and ':' .. name or '')
end

local function ring()
  if call('LLEN', QUEUE) == 0 then call('LPUSH', QUEUE, '') end
end

-- Bytes that a dead letter counts for; its fields lie in the order in which bury() writes them.
local function weight(fields)
  local bytes = 0
  for i = 2, #fields, 2 do bytes = bytes + #fields[i] end
  return bytes
end

-- Drops as many of the oldest dead letters as the newest takes room for: a large one may cost thousands of small ones.
local function cap_dead(newest)
  local letters = call('XLEN', DEAD)
  if letters == 1 then call('HSET', COUNTERS, 'dead_bytes', newest) return end
  if not tonumber(call('HGET', COUNTERS, 'dead_bytes') or 0) then call('HSET', COUNTERS, 'dead_bytes', 0) end -- spoiled
  local kept, bytes = letters, call('HINCRBY', COUNTERS, 'dead_bytes', newest)
  while kept > 1 and (kept > DEAD_MOST or bytes > DEAD_MOST_BYTES) do
    local oldest = call('XRANGE', DEAD, '-', '+', 'COUNT', 1)[1]
    call('XDEL', DEAD, oldest[1])
    kept, bytes = kept - 1, bytes - weight(oldest[2])
  end
  if kept < letters then
    call('HSET', COUNTERS, 'dead_bytes', kept > 1 and bytes or newest)
    call('HINCRBY', COUNTERS, 'dead_dropped', letters - kept)
  end
end

-- Results. ENDLESS: ms that the result of a task that has not ended stays beyond its TTL.
local ENDLESS, MOST_ERRORS = 604800000, 10

-- The result that a payload names, which only our own clients write this way: its id and key, or nil if there is none.
local function result_of(payload)
  local id = payload:match('^{"id":"([%w._:-]+)"')
  local key = id and key_of('result', id)
  if key and call('TYPE', key).ok == 'hash' then return id, key end
end

-- Adds one JSON text to a result's errors, which are lines; the oldest go.
local function add_error(key, text)
  local errors = call('HGET', key, 'errors') or ''
  errors = errors .. text .. '\n'
  while select(2, errors:gsub('\n', '\n')) > MOST_ERRORS do errors = errors:match('\n(.*)') end
  call('HSET', key, 'errors', errors)
end

-- Returns a number that stands in a result; another if what stands there is none.
local function number_of(text, otherwise)
  return text and #text < 13 and text:find('^%d+$') and tonumber(text) or otherwise
end

-- Has a result that has not ended stay until it will have, and its TTL then.
local function keep_result(id, key, more)
  local index = key_of('results')
  if call('TYPE', index).ok == 'zset' then call('ZREM', index, id) end
  call('PEXPIRE', key, number_of(call('HGET', key, 'ttl'), 0) + ENDLESS + more)
end

-- Ends a result, and drops those that would have gone first if there are more than the cap allows.
local function end_result(id, key, status)
  local index, ttl, cap = key_of('results'), unpack(call('HMGET', key, 'ttl', 'cap'))
  ttl, cap = number_of(ttl, 86400000), number_of(cap, 100000)
  call('HSET', key, 'status', status, 'finished', now, 'run', '')
  call('PEXPIRE', key, ttl)
  if call('TYPE', index).ok ~= 'zset' then call('DEL', index) end
  call('ZREMRANGEBYSCORE', index, '-inf', now)
  call('ZADD', index, now + ttl, id)
  local over = math.min(call('ZCARD', index) - cap, 100)
  if over > 0 then
    for _, old in ipairs(call('ZRANGE', index, 0, over - 1)) do call('DEL', key_of('result', old)) end
    call('ZREMRANGEBYRANK', index, 0, over - 1)
  end
  if call('PTTL', index) < ttl then call('PEXPIRE', index, ttl) end
end

-- Has a result say that its task waits to be run again, if it has said this until now: an end that a worker has recorded
-- and did not live to acknowledge stays on record, or the task would run once more.
local function await_result(payload, said)
  local id, key = result_of(payload)
  if not id or call('HGET', key, 'status') ~= said then return end
  call('HSET', key, 'status', 'READY', 'run', '')
  call('HDEL', key, 'finished', 'reason')
  keep_result(id, key, 0)
end

-- Has a result say that its task is a dead letter, unless its worker has said why already.
local function fail_result(payload, reason, detail)
  local id, key = result_of(payload)
  local status = id and call('HGET', key, 'status')
  if not id or status == 'SUCCESSFUL' or status == 'FAILED' then return end
  add_error(key, cjson.encode({'multiworker.worker.errors.DeadLettered', reason .. ': ' .. detail}))
  call('HSET', key, 'reason', reason)
  end_result(id, key, 'FAILED')
end

-- Puts a frame into the dead letters. sha256: of the whole payload, if the frame has only its head.
local function bury(frame, worker, reason, detail, sha256)
  local id, attempt, crashes, size, payload, place = split(frame)
  if size ~= '' then call('DEL', key_of('oversized', id)) else size = #payload end
  local fields = {'id', id, 'attempt', attempt, 'crashes', crashes, 'reason', reason, 'detail', detail,
                  'worker', worker, 'size', tostring(size), 'sha256', sha256 or '', 'payload', payload}
  if place ~= '' then fields[19], fields[20] = 'priority', place:match('^p(.*)%.') end
  call('XADD', DEAD, '*', unpack(fields))
  cap_dead(weight(fields))
  fail_result(payload, reason, detail)
end
