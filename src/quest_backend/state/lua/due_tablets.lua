-- Claim tablets whose grace is over: {identity, socket, ...}. Whoever claims one and dies leaves it to
-- the next when a.until_ms has passed.
local out = {}
for _, identity in ipairs(redis.call('ZRANGEBYSCORE', 'grace:tablets', 0, a.now_ms, 'LIMIT', 0, 50)) do
  redis.call('ZADD', 'grace:tablets', a.until_ms, identity)
  out[#out + 1] = identity
  out[#out + 1] = lead(identity)
end
return out
