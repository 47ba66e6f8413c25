-- Sends tasks that a plain push cannot: to be put off, with a priority, or both.
-- ARGV: delay ms, priority (-100 to 100), then pairs: id (letters, digits and . : _ - only), payload
-- Reply: how many
check_types()
local delay, priority = tonumber(ARGV[1]), tonumber(ARGV[2])
for i = 3, #ARGV, 2 do line_up(delay, priority, ARGV[i], 1, 0, '', ARGV[i + 1]) end
if delay <= 0 then ring() end
return (#ARGV - 2) / 2
