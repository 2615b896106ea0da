-- Begin a refresh unless one is under way that has moved lately. 1 if begun.
local had = redis.call('HMGET', 'qa_refresh', 'state', 'updated')
local busy = had[1] == 'listing' or redis.call('SCARD', 'qa_refresh_left') > 0
if busy and tonumber(had[2] or '0') > a.now - a.stalled_ms then return 0 end
redis.call('DEL', 'qa_refresh', 'qa_refresh_left')
redis.call('HSET', 'qa_refresh', 'id', a.id, 'state', 'listing', 'total', 0, 'listed', 0,
           'updated', a.now_text)
redis.call('SADD', 'qa_waiting', a.name)
redis.call('XADD', 'qa_jobs', '*', 'data', a.message)
return 1
