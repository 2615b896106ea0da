-- Only the lock's owner keeps it for longer, or (ttl_ms 0) gives it back.
if redis.call('GET', a.key) ~= a.owner then return 0 end
if a.ttl_ms > 0 then return redis.call('PEXPIRE', a.key, a.ttl_ms) end
return redis.call('DEL', a.key)
