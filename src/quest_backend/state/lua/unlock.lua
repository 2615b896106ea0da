-- Release what this tablet holds of a.ids, or everything. {{released ids}, rows}
local socket = a.socket or lead(a.identity)
local ids = a.ids or redis.call('SMEMBERS', 'tablet_locks:' .. socket)
local released = {}
for _, id in ipairs(ids) do
  if socket ~= '' and redis.call('GET', 'lock:' .. id) == socket then
    free(id)
    released[#released + 1] = id
  else
    redis.call('SREM', 'tablet_locks:' .. socket, id)
  end
end
return {released, rows(released)}
