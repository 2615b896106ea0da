-- Forget a session and take its part out of the running sums and lists. 1 if there was one.
local key = 'qa_session:' .. a.session
local had = redis.call('HMGET', key, 'share', 'place', 'listed')
if not had[1] then return 0 end
for name, value in pairs(cjson.decode(had[1])) do redis.call('HINCRBY', 'qa_totals', name, 0 - value) end
redis.call('HSET', 'qa_totals', 'updated', a.now)
redis.call('ZREM', 'qa_list:date:' .. had[2], a.session)
redis.call('ZREM', 'qa_list:score:' .. had[2], had[3])
redis.call('DEL', key)
redis.call('ZREM', 'qa_sessions', a.session)
return 1
