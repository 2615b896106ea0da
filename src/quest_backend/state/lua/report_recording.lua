-- A headset says whether it records. {} from a replaced socket; else {row}
if redis.call('HGET', 'device:' .. a.id, 'socketId') ~= a.socket then return {} end
-- "I record" does not answer a stop, nor "I don't" a start: it was said before that arrived, or that
-- was lost.
if redis.call('HGET', 'device:' .. a.id, 'commanded') == (a.recording == '1' and 'start' or 'stop') then
  redis.call('HDEL', 'device:' .. a.id, 'commanded')
end
touch(a.id, 'isRecording', a.recording, 'lastSeen', a.now)
local session = redis.call('GET', 'device_session:' .. a.id)
if session then
  local devices = 'session_devices:' .. session
  if a.recording == '1' and redis.call('HGET', devices, a.id .. ':isRecording') ~= '1' then
    redis.call('HINCRBY', devices, a.id .. ':recordings', 1)
  end
  redis.call('HSET', devices, a.id .. ':isRecording', a.recording)
end
return {row(a.id)}
