-- A pairing code is used up, and its tablet known: in one step. 0 when somebody else was first.
if redis.call('DEL', a.code) == 0 then return 0 end
redis.call('HSET', a.tablets, a.tablet, a.record)
return 1
