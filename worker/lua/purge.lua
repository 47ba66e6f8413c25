-- Deletes what waits. What is in flight goes on.
-- ARGV: everything (1: also what is scheduled, prioritised or suspected)
-- Reply: how many tasks were deleted
check_types()
local function tasks(list) return call('LLEN', list) - #call('LPOS', list, '', 'RANK', -1, 'COUNT', 0, 'MAXLEN', 100) end

local count = tasks(QUEUE) + tasks(HANDOFF)
call('UNLINK', QUEUE, HANDOFF)
if ARGV[1] == '1' then
  count = count + call('ZCARD', SCHEDULED) + call('ZCARD', PRIORITY) + call('ZCARD', DEFERRED) + call('LLEN', SUSPECTS)
  call('UNLINK', SCHEDULED, PRIORITY, DEFERRED, SUSPECTS)
end
return count
