-- The socket that held a tablet's locks and sessions is gone. 'stale', 'grace' or 'gone'
if mistaken() then return 'stale' end
local socket = lead(a.identity)
if socket ~= a.socket then return 'stale' end
-- Another socket of it, on whatever node, takes over.
news[#news + 1] = {k = 'left', who = a.identity}
if redis.call('SCARD', 'tablet_locks:' .. socket) > 0
  or redis.call('SCARD', 'tablet_sessions:' .. a.identity) > 0 then
  redis.call('ZADD', 'grace:tablets', a.deadline_ms, a.identity)
  return 'grace'
end
redis.call('DEL', 'tablet:' .. a.identity)
redis.call('SREM', 'tablets', a.identity)
return 'gone'
