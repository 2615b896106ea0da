-- A dead node's clients have been seen to, unless it is back.
if redis.call('EXISTS', 'node:' .. a.node) == 1 then return 0 end
redis.call('SREM', 'nodes', a.node)
return 1
