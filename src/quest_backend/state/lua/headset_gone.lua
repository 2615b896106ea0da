-- A headset's socket is gone. A late goodbye of a replaced socket changes nothing.
-- {} or {holder, 'grace' | 'free', row}
if mistaken() then return {} end
local key = 'device:' .. a.id
if redis.call('HGET', key, 'socketId') ~= a.socket or not online(a.id) then return {} end
touch(a.id, 'isOnline', '0', 'lastSeen', a.now)
-- A stop may have been lost with the connection: it is told again when it is back.
if redis.call('HGET', key, 'commanded') ~= 'stop' then redis.call('HDEL', key, 'commanded') end
local holder = redis.call('GET', 'lock:' .. a.id) or ''
local session = redis.call('GET', 'device_session:' .. a.id)
if session or (a.keep_lock and holder ~= '') then
  redis.call('ZADD', 'grace:headsets', a.deadline_ms, a.id)
  return {holder, 'grace', row(a.id)}
end
free(a.id)
return {holder, 'free', row(a.id)}
