-- Everything of a tablet whose grace ended has been seen to; forget it, unless it came back.
if not redis.call('ZSCORE', 'grace:tablets', a.identity) or lead(a.identity) ~= a.socket then return 0 end
redis.call('ZREM', 'grace:tablets', a.identity)
redis.call('DEL', 'tablet:' .. a.identity)
redis.call('SREM', 'tablets', a.identity)
return 1
