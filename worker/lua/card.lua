-- Leaves a worker's card, and adds what has ended since its last one to the counts of this minute.
-- ARGV: worker, the card, ms that it stays (0: it is taken away), ms that a minute stays, then pairs: field, number
-- Reply: OK
local worker, card, stay, keep = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local minute = key_of('minute', math.floor(now / 60000))
if stay > 0 then
  call('SET', key_of('card', worker), card, 'PX', stay)
else
  call('DEL', key_of('card', worker))
end
call('HSET', minute, 'waiting', call('LLEN', QUEUE) + call('LLEN', HANDOFF) + call('ZCARD', PRIORITY))
for i = 5, #ARGV, 2 do call('HINCRBY', minute, ARGV[i], ARGV[i + 1]) end
call('PEXPIRE', minute, keep)
return {'OK'}
