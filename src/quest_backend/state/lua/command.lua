-- Headsets are about to be told to start or stop; rows of those that are there and do not do it anyway.
-- With a.read: one headset, whatever it does, if it is still in that session, the session in that
-- state, and the headset told what it was told then.
local told = {}
for _, id in ipairs(a.ids) do
  local wanted
  if a.read then
    local session = redis.call('GET', 'device_session:' .. id) or ''
    local status = session ~= '' and redis.call('HGET', 'session:' .. session, 'status') or ''
    local before = redis.call('HGET', 'device:' .. id, 'commanded') or ''
    wanted = session == a.read.session and status == a.read.status and before == a.read.told
  else
    wanted = online(id) and needs(id, a.command)
  end
  if wanted then
    command(id, a.command)
    told[#told + 1] = id
  end
end
return rows(told)
