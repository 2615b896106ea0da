-- A job has ended: done, or dead with what is to be shown of it.
redis.call('SREM', 'qa_refresh_left', a.name)
if redis.call('EXISTS', 'qa_refresh') == 1 then redis.call('HSET', 'qa_refresh', 'updated', a.now) end
if not a.dead then
  redis.call('HDEL', 'qa_dead', a.name)
  redis.call('ZREM', 'qa_dead_order', a.name)
  if a.counts then redis.call('HINCRBY', 'qa_counts', 'done', 1) end
  return 0
end
-- It may have died before any worker began it; else no one could ask for the same work again.
redis.call('SREM', 'qa_waiting', a.name)
redis.call('HSET', 'qa_dead', a.name, a.dead)
redis.call('ZADD', 'qa_dead_order', a.now, a.name)
local over = redis.call('ZCARD', 'qa_dead_order') - a.most_dead
if over > 0 then
  for _, name in ipairs(redis.call('ZRANGE', 'qa_dead_order', 0, over - 1)) do
    redis.call('HDEL', 'qa_dead', name)
    redis.call('ZREM', 'qa_dead_order', name)
  end
end
return 1
