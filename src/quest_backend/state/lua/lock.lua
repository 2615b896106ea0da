-- Decide a batch of locks at once. {{outcome, ...}, rows}
local socket = lead(a.identity)
local outcomes = {}
for i, id in ipairs(a.ids) do
  local state = availability(id, socket)
  if state == 'free' then take(id, socket) end
  if state == 'mine' then redis.call('EXPIRE', 'lock:' .. id, a.lock_ttl) end
  outcomes[i] = state
end
return {outcomes, rows(a.ids)}
