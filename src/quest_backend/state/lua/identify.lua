-- A headset's socket says who it is, and takes over from an older one. With a.instead: only from that
-- socket; {} when it is another by now.
if a.instead and (redis.call('HGET', 'device:' .. a.id, 'socketId') or '') ~= a.instead then return {} end
local key = 'device:' .. a.id
if not redis.call('GET', 'lock:' .. a.id) then
  -- The lock expired while its server was dead.
  redis.call('HDEL', key, 'lockedByTabletId', 'lockedAt')
end
touch(a.id, 'socketId', a.socket, 'nodeId', a.node, 'isOnline', '1', 'lastSeen', a.now,
  'connectionTime', a.now)
redis.call('HSETNX', key, 'v', version)
redis.call('ZADD', 'devices', a.now_ms, a.id)
redis.call('ZREM', 'grace:headsets', a.id)
return {row(a.id)}
