-- Forget a result and take its part out of the running sums. 1 if there was one.
local key = 'qa_session:' .. a.session
local share = redis.call('HGET', key, 'share')
if not share then return 0 end
for name, value in pairs(cjson.decode(share)) do redis.call('HINCRBY', 'qa_totals', name, -value) end
redis.call('HSET', 'qa_totals', 'updated', a.now)
redis.call('DEL', key)
redis.call('ZREM', 'qa_sessions', a.session)
return 1
