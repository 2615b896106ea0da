-- This node is alive: {whether it was thought to be, {nodes that are}, {nodes that are not}}
local key = 'node:' .. a.node
local was = redis.call('EXISTS', key)
redis.call('SET', key, a.now, 'PX', a.lifetime_ms)
redis.call('SADD', 'nodes', a.node)
local alive, dead = {}, {}
for _, id in ipairs(redis.call('SMEMBERS', 'nodes')) do
  local list = redis.call('EXISTS', 'node:' .. id) == 1 and alive or dead
  list[#list + 1] = id
end
return {was, alive, dead}
