-- Only the lock's owner gives it back.
if redis.call('GET', a.key) == a.owner then return redis.call('DEL', a.key) end
return 0
