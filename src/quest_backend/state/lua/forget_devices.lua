-- Devices leave the fleet, those that are still as long gone. {id, ...}
local gone = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', 'devices', 0, a.before_ms)) do
  if not online(id) then
    redis.call('ZREM', 'devices', id)
    redis.call('DEL', 'device:' .. id)
    gone[#gone + 1] = id
  end
end
if #gone > 0 then news[#news + 1] = {k = 'gone', ids = gone} end
return gone
