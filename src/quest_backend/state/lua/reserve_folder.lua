-- Give a recording its folder: {folder}, or {} when every candidate is somebody else's.
-- a.known: folders that the bucket holds something in, with the owner that its objects name.
local owner = a.device .. ':' .. a.asked
local place = 'upload_place:' .. owner
local function give(folder)
  redis.call('HSET', 'upload_folder:' .. folder, 'owner', owner, 'deviceId', a.device)
  redis.call('EXPIRE', 'upload_folder:' .. folder, a.ttl)
  redis.call('SET', place, folder, 'EX', a.ttl)
  return {folder}
end
local had = redis.call('GET', place)
if had then return give(had) end
for _, folder in ipairs(a.candidates) do
  local held = redis.call('HGET', 'upload_folder:' .. folder, 'owner') or a.known[folder]
  if not held or held == owner then return give(folder) end
end
return {}
