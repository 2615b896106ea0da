-- A dead node's clients have been seen to, unless it is back. Should it die again, that is another death.
redis.call('DEL', 'lease:dead:' .. a.node)
if redis.call('EXISTS', 'node:' .. a.node) == 1 then return 0 end
redis.call('SREM', 'nodes', a.node)
return 1
