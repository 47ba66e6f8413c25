-- Shows tasks that are put off, those first that are due first.
-- ARGV: how many to pass over of those without and of those with a priority; how many to show; bytes to show of each
-- Reply: now, how many were shown and passed over of each kind, then for each: due in ms of Redis TIME, frame's header,
--        bytes of the payload, its first bytes
local at, left, cut = {tonumber(ARGV[1]), tonumber(ARGV[2])}, tonumber(ARGV[3]), tonumber(ARGV[4])
local sets = {SCHEDULED, DEFERRED}

local function next_of(which)
  local frame, due = unpack(call('ZRANGE', sets[which], at[which], at[which], 'WITHSCORES'))
  return frame, tonumber(due)
end

local reply = {now, 0, 0}
local frames, dues = {}, {}
frames[1], dues[1] = next_of(1)
frames[2], dues[2] = next_of(2)
while left > 0 and (frames[1] or frames[2]) do
  local which = (not frames[2] or (frames[1] and dues[1] <= dues[2])) and 1 or 2
  local header, payload = frames[which]:match('^([^\n]*)\n(.*)$')
  reply[#reply + 1] = math.floor(dues[which])
  reply[#reply + 1] = (header or ''):sub(1, 1000)
  reply[#reply + 1] = #(payload or frames[which])
  reply[#reply + 1] = (payload or frames[which]):sub(1, cut)
  at[which], left = at[which] + 1, left - 1
  frames[which], dues[which] = next_of(which)
end
reply[2], reply[3] = at[1], at[2]
return reply
