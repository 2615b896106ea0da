-- A headset says whether it records. {} from a replaced socket; else {row}
if redis.call('HGET', 'device:' .. a.id, 'socketId') ~= a.socket then return {} end
redis.call('HDEL', 'device:' .. a.id, 'commanded')
touch(a.id, 'isRecording', a.recording, 'lastSeen', a.now)
local session = redis.call('GET', 'device_session:' .. a.id)
if session then
  redis.call('HSET', 'session_devices:' .. session, a.id .. ':isRecording', a.recording)
end
return {row(a.id)}
