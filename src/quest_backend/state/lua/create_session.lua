-- Lock what is free of a.ids and make a session of it. {{outcome, ...}, rows}; nothing is made when none is free.
local socket = lead(a.identity)
local outcomes, members, taken = {}, {}, {}
for i, id in ipairs(a.ids) do
  local state = availability(id, socket)
  local other = redis.call('GET', 'device_session:' .. id)
  local busy = other and redis.call('HGET', 'session:' .. other, 'status')
  if busy == 'recording' or busy == 'paused' then state = 'busy' end
  outcomes[i] = state
  if state == 'free' or state == 'mine' then members[#members + 1] = id end
  if state == 'free' then taken[#taken + 1] = id end
end
if #members == 0 then return {outcomes, {}} end
local devices = 'session_devices:' .. a.session
for _, id in ipairs(members) do
  redis.call('SET', 'device_session:' .. id, a.session, 'EX', a.session_ttl)
  redis.call('HSET', devices, id .. ':isRecording', redis.call('HGET', 'device:' .. id, 'isRecording') or '0',
    id .. ':frameCount', '0', id .. ':uploadProgress', '0', id .. ':uploadStatus', 'pending')
  redis.call('ZADD', 'device_sessions:' .. id, a.now_ms, a.session)
  redis.call('ZREMRANGEBYRANK', 'device_sessions:' .. id, 0, -51)
  redis.call('EXPIRE', 'device_sessions:' .. id, a.session_ttl)
  touch(id)
end
for _, id in ipairs(taken) do take(id, socket) end
redis.call('EXPIRE', devices, a.session_ttl)
redis.call('HSET', 'session:' .. a.session, 'sessionId', a.session, 'tabletId', socket,
  'tabletIdentity', a.identity, 'deviceIds', cjson.encode(members), 'status', 'pending',
  'createdAt', a.now, 'metadata', a.metadata, 'rev', '1', 'v', version,
  'locksTaken', #taken > 0 and cjson.encode(taken) or '[]')
redis.call('EXPIRE', 'session:' .. a.session, a.session_ttl)
redis.call('ZADD', 'sessions', a.now_ms, a.session)
redis.call('SADD', 'tablet_sessions:' .. a.identity, a.session)
return {outcomes, rows(members)}
