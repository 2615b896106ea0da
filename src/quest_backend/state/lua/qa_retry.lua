-- A dead job goes into the queue again. 1 if there was one.
local dead = redis.call('HGET', 'qa_dead', a.name)
if not dead then return 0 end
redis.call('HDEL', 'qa_dead', a.name)
redis.call('ZREM', 'qa_dead_order', a.name)
if redis.call('SADD', 'qa_waiting', a.name) == 1 then
  redis.call('XADD', 'qa_jobs', '*', 'data', cjson.decode(dead).message)
end
return 1
