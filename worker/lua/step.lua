-- One round trip of a worker: acknowledges and settles what ended, claims what there is room for, renews the lease.
-- ARGV: worker, no, lease ms, want, bytes, largest payload, ms that the turn for a suspect lasts, has the turn (0|1),
--       tasks of other queues that it holds, n, n delivery ids to acknowledge,
--       then for each settled delivery four: id, 'retry', delay ms, '' or: id, 'dead', reason, detail (or sha256)
-- Reply: OK, now ms, ms of the next due task or -1, more (1: stopped before everything was looked at),
--        turn (1: claim nothing until you hold nothing), acknowledged, buried unseen, m, m ids settled but not held,
--        then pairs: delivery id, frame
--      | FENCED (unknown: this worker was declared dead) | STALE (the number is not new); nothing was done
local worker, no, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local want, bytes, largest = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local turn_ms, has_turn, others, acks = tonumber(ARGV[7]), ARGV[8] == '1', tonumber(ARGV[9]), tonumber(ARGV[10])
local CHUNK, MOST_CHUNKS = 20, 64 -- list elements read at once; and chunks in one call, lest bells keep Redis busy

local seen = call('HGET', HELD, 'no')
local ready = call('LLEN', QUEUE) + call('LLEN', HANDOFF)
local due = call('ZRANGEBYSCORE', SCHEDULED, '-inf', now, 'LIMIT', 0, want + 1)
local prioritised, suspects = call('ZCARD', PRIORITY), call('LLEN', SUSPECTS)
call('XLEN', DEAD) call('HLEN', COUNTERS)
if not seen then return {'FENCED'} end
if no <= tonumber(seen) then return {'STALE'} end
call('HSET', HELD, 'no', ARGV[2])
call('ZADD', WORKERS, now + lease, worker)

local count = {claimed = 0, done = 0, retried = 0, dead = 0}
if acks > 0 then count.done = call('HDEL', HELD, unpack(ARGV, 11, 10 + acks)) end

local reply = {'OK', now, -1, 0, 0, count.done, 0, 0}
for i = 11 + acks, #ARGV, 4 do
  local delivery, kind = ARGV[i], ARGV[i + 1]
  local frame = call('HGET', HELD, delivery)
  if not frame then
    reply[8] = reply[8] + 1
    reply[#reply + 1] = delivery
  elseif kind == 'retry' then
    local id, attempt, crashes, size, payload = split(frame)
    call('ZADD', SCHEDULED, now + ARGV[i + 2], join(id, attempt + 1, crashes, size, payload))
    count.retried = count.retried + 1
  else
    local cut = select(4, split(frame)) ~= ''
    bury(frame, worker, ARGV[i + 2], cut and '' or ARGV[i + 3], cut and ARGV[i + 3])
    count.dead = count.dead + 1
  end
  if frame then call('HDEL', HELD, delivery) end
end

-- Everything claimed in this call gets a number: it names the delivery, and the task if it has no name yet.
local delivery_prefix, task_prefix = ARGV[2] .. '.', worker .. '.' .. ARGV[2] .. '.'
local taken, numbered, format = 0, 0, string.format
local function number()
  numbered = numbered + 1
  return format('%d', numbered) -- much cheaper than Lua's own conversion, which is for floats
end

local function claim(n, frame)
  taken = taken + 1
  bytes = bytes - #frame
  local delivery = delivery_prefix .. n
  reply[#reply + 1] = delivery
  reply[#reply + 1] = frame
  return delivery
end

local function first_frame(n, payload)
  return task_prefix .. n .. ' 1 0\n' .. payload
end

-- A payload larger than the limit does not travel: it is buried here, or if it is too large even for that, laid aside
-- for its worker to read and hash piece by piece.
local function oversized(n, payload)
  if #payload <= WHOLE then
    bury(first_frame(n, payload), worker, 'too large', #payload .. ' bytes')
    reply[7], want = reply[7] + 1, want - 1
    return nil
  end
  call('SET', oversized_key(task_prefix .. n), payload, 'EX', 604800)
  return task_prefix .. n .. ' 1 0 ' .. #payload .. '\n' .. payload:sub(1, HEAD)
end

-- Moves frames of a sorted set into flight: written there first, removed last.
local function take_sorted(key, frames, most)
  for i = 1, math.min(#frames, most) do
    if taken >= want or bytes <= 0 then return end
    local n, frame = number(), frames[i]
    local id, _, crashes = split(frame)
    if not id then frame = first_frame(n, frame) end -- somebody else's ZADD, without a header
    if id and tonumber(crashes) >= SUSPECT_AFTER then
      call('LPUSH', SUSPECTS, frame) -- a suspect that failed without a crash: its next attempt is alone, too
    else
      call('HSET', HELD, claim(n, frame), frame)
    end
    call('ZREM', key, frames[i])
  end
end

local function take_list(key)
  for _ = 1, MOST_CHUNKS do
    if taken >= want or bytes <= 0 then return end
    local chunk = call('LRANGE', key, -math.min(CHUNK, want - taken), -1)
    if #chunk == 0 then return end
    local first, used = #reply + 1, 0
    while used < #chunk and bytes > 0 do
      local payload = chunk[#chunk - used]
      used = used + 1
      if payload ~= '' then
        local n = number()
        local frame
        if #payload > largest then frame = oversized(n, payload) else frame = first_frame(n, payload) end
        if frame then claim(n, frame) end
      end
    end
    if #reply >= first then call('HSET', HELD, unpack(reply, first)) end
    call('LTRIM', key, 0, -1 - used)
  end
  reply[4] = 1
end

if suspects > 0 and want > 0 then
  local holds_nothing = call('HLEN', HELD) == META and others == 0
  local settled = call('HMGET', HELD, 'done', 'retried', 'dead')
  local now_settled = count.done + count.retried + count.dead
  -- In a crash loop the youngest would take it and die with it.
  local proven = settled[1] + settled[2] + settled[3] + now_settled > 0
  if holds_nothing and (proven or ready + #due + prioritised == 0) then
    local n, frame = number(), call('LRANGE', SUSPECTS, -1, -1)[1]
    if not split(frame) then frame = first_frame(n, frame) end -- somebody else's, without a header
    call('HSET', HELD, claim(n, frame), frame)
    call('LTRIM', SUSPECTS, 0, -2)
    call('ZREM', WORKERS, '*alone', '*alone ' .. worker)
    want = 0
  elseif not holds_nothing then
    -- One worker at a time runs empty for the suspect, and only for a while: others go on, and nobody waits for ever.
    local turn_ends = tonumber(call('ZSCORE', WORKERS, '*alone') or 0)
    if has_turn and turn_ends <= now then
      call('ZREM', WORKERS, '*alone', '*alone ' .. worker)
    elseif has_turn or turn_ends <= now then
      if not has_turn then call('ZADD', WORKERS, now + turn_ms, '*alone', now + turn_ms, '*alone ' .. worker) end
      reply[5] = 1
      want = 0
    end
  end
end

if want > 0 then
  local before, after = {}, {}
  if prioritised > 0 then
    before = call('ZRANGEBYSCORE', PRIORITY, '-inf', '(0', 'LIMIT', 0, want)
    after = call('ZRANGEBYSCORE', PRIORITY, '(0', '+inf', 'LIMIT', 0, want)
  end
  take_sorted(PRIORITY, before, want)
  -- Due tasks get at least, and while the list has enough at most, half: neither starves.
  local room = want - taken
  local held_due = taken
  take_sorted(SCHEDULED, due, math.max(room - ready, math.floor((room + no % 2) / 2)))
  held_due = taken - held_due
  take_list(HANDOFF)
  take_list(QUEUE)
  take_sorted(PRIORITY, after, want)
  if taken >= want or bytes <= 0 then
    reply[4] = 1
    if #due > held_due or prioritised > taken or call('LLEN', HANDOFF) > 0 then ring() end -- wake the next one for the rest
  elseif #due > held_due then
    reply[4] = 1
  else
    local next_due = call('ZRANGE', SCHEDULED, 0, 0, 'WITHSCORES')[2]
    if next_due then reply[3] = tonumber(next_due) end
  end
end

count.claimed, count.dead = taken + reply[7], count.dead + reply[7]
for counter, by in pairs(count) do
  if by > 0 then call('HINCRBY', HELD, counter, by) end
end
return reply
