-- A refresh has listed more of the bucket, or has ended its listing. 1 if it is still the one.
if redis.call('HGET', 'qa_refresh', 'id') ~= a.id then return 0 end
redis.call('HINCRBY', 'qa_refresh', 'listed', a.listed)
redis.call('HSET', 'qa_refresh', 'state', a.state, 'updated', a.now)
return 1
