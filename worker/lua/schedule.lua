-- Puts tasks off: they become due some time from now.
-- ARGV: delay ms, frames
-- Reply: how many were new
check_types()
local added = 0
for i = 2, #ARGV do added = added + call('ZADD', SCHEDULED, now + ARGV[1], ARGV[i]) end
if tonumber(ARGV[1]) <= 0 then ring() end
return added
