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
local PROMOTED = 1000 -- deferred tasks that one call finds to be due

local seen = call('HGET', HELD, 'no')
local handed = call('LLEN', HANDOFF)
local ready = call('LLEN', QUEUE) + handed
local due = call('ZRANGEBYSCORE', SCHEDULED, '-inf', now, 'LIMIT', 0, want + 1)
local prioritised, deferred, suspects = call('ZCARD', PRIORITY), call('ZCARD', DEFERRED), call('LLEN', SUSPECTS)
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
    local id, attempt, crashes, size, payload, place = split(frame)
    local _, priority = score_of(place)
    line_up(tonumber(ARGV[i + 2]), priority or 0, id, attempt + 1, crashes, size, payload)
    count.retried = count.retried + 1
  else
    local cut = select(4, split(frame)) ~= ''
    bury(frame, worker, ARGV[i + 2], cut and '' or ARGV[i + 3], cut and ARGV[i + 3])
    count.dead = count.dead + 1
  end
  if frame then call('HDEL', HELD, delivery) end
end

-- Gives deferred tasks whose time has come their places among the priorities.
-- Returns true if there may be more of them: then nothing can be claimed yet, or a lower priority might go first.
local function promote()
  local ripe = call('ZRANGEBYSCORE', DEFERRED, '-inf', '(' .. now + 1, 'LIMIT', 0, PROMOTED)
  for _, frame in ipairs(ripe) do
    local id, attempt, crashes, size, payload, place = split(frame)
    local _, priority = score_of(place or '')
    if priority then
      place = 'p' .. priority .. '.' .. next_number()
      put(PRIORITY, score_of(place), id, attempt, crashes, size, payload, place)
    else
      call('ZADD', SCHEDULED, now, frame) -- somebody else's, without a priority
    end
    call('ZREM', DEFERRED, frame)
  end
  return #ripe == PROMOTED
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
  call('SET', key_of('oversized', task_prefix .. n), payload, 'EX', 604800)
  return task_prefix .. n .. ' 1 0 ' .. #payload .. '\n' .. payload:sub(1, HEAD)
end

-- Moves frames of a sorted set, from one place to another, into flight: written there first, removed last.
-- Returns the place behind the last that was moved.
local aside = 0
local function take_sorted(key, frames, first, last)
  for i = first, math.min(#frames, last) do
    if taken >= want or bytes <= 0 then return i end
    local n, frame = number(), frames[i]
    local id, _, crashes = split(frame)
    if not id then frame = first_frame(n, frame) end -- somebody else's ZADD, without a header
    if id and tonumber(crashes) >= SUSPECT_AFTER then
      call('LPUSH', SUSPECTS, frame) -- a suspect that failed without a crash: its next attempt is alone, too
      aside = aside + 1
    else
      call('HSET', HELD, claim(n, frame), frame)
    end
    call('ZREM', key, frames[i])
  end
  return math.max(first, math.min(#frames, last) + 1)
end

-- Returns true if nothing is left in the list.
local function take_list(key)
  for _ = 1, MOST_CHUNKS do
    if taken >= want or bytes <= 0 then return end
    local chunk = call('LRANGE', key, -math.min(CHUNK, want - taken), -1)
    if #chunk == 0 then return true end
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

if #ARGV > 10 + acks then prioritised = call('ZCARD', PRIORITY) end
if suspects > 0 and want > 0 then
  local holds_nothing = call('HLEN', HELD) == META and others == 0
  local settled = call('HMGET', HELD, 'done', 'retried', 'dead')
  local now_settled = count.done + count.retried + count.dead
  -- In a crash loop the youngest would take it and die with it.
  local proven = settled[1] + settled[2] + settled[3] + now_settled > 0
  local other_work = ready + #due + prioritised + call('ZCOUNT', DEFERRED, '-inf', '(' .. now + 1)
  if holds_nothing and (proven or other_work == 0) then
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

if want > 0 and deferred > 0 then
  if promote() then want, reply[4] = 0, 1 end
  prioritised = call('ZCARD', PRIORITY)
end

if want > 0 then
  local before, after = {}, {}
  if prioritised > 0 then
    before = call('ZRANGEBYSCORE', PRIORITY, '-inf', '(0', 'LIMIT', 0, want)
    after = call('ZRANGEBYSCORE', PRIORITY, '(0', '+inf', 'LIMIT', 0, want)
  end
  take_sorted(PRIORITY, before, 1, want)
  -- Due tasks get at least, and while the list has enough at most, half: neither starves.
  local room = want - taken
  local behind = take_sorted(SCHEDULED, due, 1, math.max(room - ready, math.floor((room + no % 2) / 2)))
  local handoff_done = handed == 0 or take_list(HANDOFF)
  local list_done = take_list(QUEUE) and handoff_done
  behind = take_sorted(SCHEDULED, due, behind, #due) -- if the list had only bells
  if list_done and aside == 0 then take_sorted(PRIORITY, after, 1, want) end
  if taken >= want or bytes <= 0 then
    reply[4] = 1
    local left = behind <= #due or aside > 0 or (prioritised > 0 and call('ZCARD', PRIORITY) > 0)
    if left or (not handoff_done and call('LLEN', HANDOFF) > 0) then ring() end -- wake the next one for the rest
  elseif aside > 0 then
    reply[4] = 1
  else
    for _, key in ipairs({SCHEDULED, DEFERRED}) do
      local next_due = tonumber(call('ZRANGE', key, 0, 0, 'WITHSCORES')[2])
      if next_due and (reply[3] < 0 or next_due < reply[3]) then reply[3] = math.floor(next_due) end
    end
  end
end

count.claimed, count.dead = taken + reply[7], count.dead + reply[7]
for counter, by in pairs(count) do
  if by > 0 then call('HINCRBY', HELD, counter, by) end
end
return reply
