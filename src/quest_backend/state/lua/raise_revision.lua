-- A store that lost its last moments must not give revisions again that nodes have seen.
-- 1 when it had to be raised.
if tonumber(redis.call('GET', 'fleet:revision') or 0) >= a.known then return 0 end
redis.call('SET', 'fleet:revision', tostring(a.known))
return 1
