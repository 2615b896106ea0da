-- Commit a session's next state, if it is still the one that was read, and what its devices are told.
-- {} or {1, rows of changed devices, ids of those that are told a.command}
local key = 'session:' .. a.session
if redis.call('HGET', key, 'rev') ~= tostring(a.expected) then return {} end
redis.call('HSET', key, 'status', a.status, 'rev', tostring(a.expected + 1))
if a.started_at ~= '' then redis.call('HSET', key, 'startedAt', a.started_at) end
if a.ended_at ~= '' then redis.call('HSET', key, 'endedAt', a.ended_at) end
redis.call('EXPIRE', key, a.session_ttl)
redis.call('EXPIRE', 'session_devices:' .. a.session, a.session_ttl)
if a.command == 'start' then
  -- Back after its grace, and nobody else's meanwhile: it is in again.
  local socket = lead(a.identity)
  for _, id in ipairs(a.ids) do
    local state = not redis.call('GET', 'device_session:' .. id) and availability(id, socket)
    if state == 'free' or state == 'mine' then
      redis.call('SET', 'device_session:' .. id, a.session, 'EX', a.session_ttl)
      if state == 'free' then take(id, socket) else touch(id) end
    end
  end
end
local told = {}
for _, id in ipairs(a.command ~= '' and a.ids or {}) do
  if redis.call('GET', 'device_session:' .. id) == a.session and needs(id, a.command) then
    -- What one that is away was told before is not asked of it any more; it is told when it is back.
    command(id, a.command)
    if online(id) then told[#told + 1] = id end
  end
end
if a.close then
  redis.call('SREM', 'tablet_sessions:' .. a.identity, a.session)
  -- Only what the session itself locked; the tablet's own locks stay.
  local socket = lead(a.identity)
  for _, id in ipairs(cjson.decode(redis.call('HGET', key, 'locksTaken') or '[]')) do
    if socket ~= '' and redis.call('GET', 'lock:' .. id) == socket then free(id) end
  end
  for _, id in ipairs(a.ids) do
    if redis.call('GET', 'device_session:' .. id) == a.session then
      -- It may be recording out there without our knowing: it is told when it is back.
      if not online(id) then command(id, 'stop') end
      redis.call('DEL', 'device_session:' .. id)
      -- Lost in a session that is over: nothing to come back to.
      if redis.call('ZREM', 'grace:headsets', id) == 1 and not online(id) then free(id) else touch(id) end
    end
  end
end
return {1, rows(touched), told}
