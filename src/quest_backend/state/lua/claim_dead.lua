-- Whether this node sees to a dead one's clients: nobody does, nobody has, and it is not back. 0 or 1
if redis.call('EXISTS', 'node:' .. a.node) == 1 or redis.call('SISMEMBER', 'nodes', a.node) == 0 then
  return 0
end
return redis.call('SET', 'lease:dead:' .. a.node, a.by, 'NX', 'PX', a.lease_ms) and 1 or 0
