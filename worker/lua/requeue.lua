-- Makes dead letters tasks again: due now, under their old id and with their old priority, as if they had never run.
-- ARGV: stream ids
-- Reply: for each of them: OK | GONE (no such dead letter) | CUT (its payload is not kept whole)
check_types()
local reply, back = {}, 0
for i = 1, #ARGV do
  local letter = call('XRANGE', DEAD, ARGV[i], ARGV[i])[1]
  if not letter then
    reply[i] = 'GONE'
  else
    local field = {}
    for j = 1, #letter[2], 2 do field[letter[2][j]] = letter[2][j + 1] end
    local frame = field.id and field.payload and join(field.id, 1, 0, '', field.payload, '')
    if not frame or not split(frame) or tonumber(field.size) ~= #field.payload then
      reply[i] = 'CUT'
    else
      local _, priority = score_of('p' .. (field.priority or '') .. '.0')
      line_up(0, priority or 0, field.id, 1, 0, '', field.payload)
      call('XDEL', DEAD, ARGV[i])
      call('HINCRBY', COUNTERS, 'dead_bytes', -weight(letter[2]))
      await_result(field.payload, 'FAILED')
      reply[i] = 'OK'
      back = back + 1
    end
  end
end
if back > 0 then ring() end
return reply
