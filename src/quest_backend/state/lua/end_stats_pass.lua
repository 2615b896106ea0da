-- A pass over the bucket has ended: its table takes the place of the last one, or its error is
-- said. 0 when the lease was lost, and nothing changes.
if redis.call('GET', 's3_stats:lease') ~= a.owner then return 0 end
redis.call('DEL', 's3_stats:lease')
local time = redis.call('TIME')
local now = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
if a.error then
  redis.call('HSET', 's3_stats', 'error', a.error, 'failedMs', now)
  return 1
end
local before = redis.call('HGET', 's3_stats', 'revision')
if before then redis.call('EXPIRE', 's3_stats:table:' .. before, a.old_ttl) end
redis.call('PERSIST', 's3_stats:table:' .. a.revision)
redis.call('HSET', 's3_stats', 'revision', a.revision, 'updatedMs', now, 'startedMs', a.started_ms,
  'objectsRead', a.objects_read, 'position', a.position)
redis.call('HDEL', 's3_stats', 'error', 'failedMs')
redis.call('XTRIM', 's3_stats:changes', 'MINID', a.position)
return 1
