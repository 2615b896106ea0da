-- A lost headset's grace is over. {} if somebody else saw to it or it is back; else {holder, session, row}
if redis.call('ZREM', 'grace:headsets', a.id) == 0 or online(a.id) then return {} end
local session = redis.call('GET', 'device_session:' .. a.id) or ''
redis.call('DEL', 'device_session:' .. a.id)
if session ~= '' then
  redis.call('HSET', 'session_devices:' .. session, a.id .. ':isRecording', '0')
  -- Should it come back recording: nobody asks for that any more.
  command(a.id, 'stop')
end
local holder = free(a.id)
touch(a.id, 'isRecording', '0')
return {holder, session, row(a.id)}
