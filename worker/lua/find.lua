-- Looks for a task by its id in a part of everything but the dead letters.
-- ARGV: id, the id as a text in JSON, elements to look at in each place, bytes to look at in all (what does not lie in
--       flight), how many to show, bytes to show of each
-- Reply: names of the places that have more elements than were looked at, separated by spaces; then for each task found:
--        place, worker or due time in ms of Redis TIME or '', header of its frame or '', bytes of its payload, its first
--        bytes
local id, text, most, bytes = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local left, cut = tonumber(ARGV[5]), tonumber(ARGV[6])
local CHUNK = 20
local partly, reply = {}, {''}

local function look(place, detail, element)
  local header, payload = element:match('^([^\n{]*)\n(.*)$')
  if not header or place == 'waiting' or place == 'handoff' then header, payload = '', element end
  bytes = bytes - #element
  if left == 0 or (header:match('^[^ ]*') ~= id and not payload:find(text, 1, true)) then return end
  left = left - 1
  for _, value in ipairs({place, detail, header:sub(1, 1000), #payload, payload:sub(1, cut)}) do
    reply[#reply + 1] = value
  end
end

-- A list's next element is its last one.
local function look_through_list(place, list)
  local seen, length = 0, call('LLEN', list)
  while seen < math.min(most, length) and bytes > 0 do
    local chunk = call('LRANGE', list, -seen - CHUNK, -seen - 1)
    for i = #chunk, 1, -1 do look(place, '', chunk[i]) end
    seen = seen + CHUNK
  end
  if seen < length then partly[#partly + 1] = place end
end

local function look_through_set(place, set)
  local seen, length = 0, call('ZCARD', set)
  while seen < math.min(most, length) and bytes > 0 do
    local chunk = call('ZRANGE', set, seen, seen + CHUNK - 1, 'WITHSCORES')
    for i = 1, #chunk, 2 do look(place, place == 'scheduled' and chunk[i + 1] or '', chunk[i]) end
    seen = seen + CHUNK
  end
  if seen < length then partly[#partly + 1] = place end
end

for _, worker in ipairs(call('ZRANGE', WORKERS, 0, most)) do
  if worker:sub(1, 1) ~= '*' then
    for _, frame in ipairs(call('HVALS', key_of('inflight', worker))) do
      if frame:find('\n', 1, true) then look('running', worker, frame) end -- the others are counters
    end
  end
end
look_through_list('suspects', SUSPECTS)
look_through_set('scheduled', SCHEDULED)
look_through_set('scheduled', DEFERRED)
look_through_set('priority', PRIORITY)
look_through_list('handoff', HANDOFF)
look_through_list('waiting', QUEUE)
reply[1] = table.concat(partly, ' ')
return reply
