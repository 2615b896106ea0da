-- Headsets are about to be told to start or stop; their rows. With a.read: one headset, if it is still
-- in that session, the session in that state, and the headset told what it was told then; else {}.
if a.read then
  local id = a.ids[1]
  local session = redis.call('GET', 'device_session:' .. id) or ''
  local status = session ~= '' and redis.call('HGET', 'session:' .. session, 'status') or ''
  local told = redis.call('HGET', 'device:' .. id, 'commanded') or ''
  if session ~= a.read.session or status ~= a.read.status or told ~= a.read.told then return {} end
end
for _, id in ipairs(a.ids) do command(id, a.command) end
return rows(a.ids)
