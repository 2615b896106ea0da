-- A tablet's socket is now the one that holds its locks and sessions.
-- {{held ids}, {open session ids}, watched device, rows}
local old = lead(a.identity)
redis.call('ZREM', 'grace:tablets', a.identity)
redis.call('SADD', 'tablets', a.identity)
redis.call('HSET', 'tablet:' .. a.identity, 'socketId', a.socket, 'nodeId', a.node)
redis.call('HSETNX', 'tablet:' .. a.identity, 'v', version)
-- Before the locks that move: the older sockets, wherever they are, keep watching.
news[#news + 1] = {k = 'lead', who = a.identity, sid = a.socket}
local held = {}
if old ~= '' and old ~= a.socket then
  for _, id in ipairs(redis.call('SMEMBERS', 'tablet_locks:' .. old)) do
    if redis.call('GET', 'lock:' .. id) == old then
      redis.call('SET', 'lock:' .. id, a.socket, 'EX', a.lock_ttl)
      redis.call('SADD', 'tablet_locks:' .. a.socket, id)
      touch(id, 'lockedByTabletId', a.socket)
      held[#held + 1] = id
    end
  end
  redis.call('DEL', 'tablet_locks:' .. old)
end
local open = {}
for _, session in ipairs(redis.call('SMEMBERS', 'tablet_sessions:' .. a.identity)) do
  if redis.call('EXISTS', 'session:' .. session) == 1 then
    redis.call('HSET', 'session:' .. session, 'tabletId', a.socket)
    open[#open + 1] = session
  else
    redis.call('SREM', 'tablet_sessions:' .. a.identity, session)
  end
end
return {held, open, redis.call('HGET', 'tablet:' .. a.identity, 'watched') or '', rows(held)}
