-- The newest telemetry of devices: rows of {id, text, seen, session or '', frame count or ''}.
-- One script for many: as commands of their own they cost the server that sends them most.
local seen = {}
for _, r in ipairs(a.rows) do
  local id, text, last_seen, session, frames = unpack(r)
  local device = 'device:' .. id
  redis.call('SET', 'telemetry:' .. id, text, 'EX', a.telemetry_ttl)
  redis.call('HSET', device, 'lastSeen', last_seen)
  redis.call('EXPIRE', device, a.device_ttl)
  seen[#seen + 1], seen[#seen + 2] = a.now_ms, id
  if session ~= '' and frames ~= '' then
    redis.call('HSET', 'session_devices:' .. session, id .. ':frameCount', frames)
  end
end
if #seen > 0 then redis.call('ZADD', 'devices', unpack(seen)) end
return {}
