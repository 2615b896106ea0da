-- The pass over the bucket goes on: keep its lease, and say how far it is. 0 when it was lost.
if redis.call('GET', 's3_stats:lease') ~= a.owner then return 0 end
redis.call('PEXPIRE', 's3_stats:lease', a.ttl_ms)
redis.call('HSET', 's3_stats', 'objectsRead', a.objects_read)
return 1
