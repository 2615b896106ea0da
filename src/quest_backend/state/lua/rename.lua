-- {} for a device that is not of the fleet; else {row}
if not redis.call('ZSCORE', 'devices', a.id) then return {} end
redis.call('HSET', 'device_names', a.id, a.name)
touch(a.id)
return {row(a.id)}
