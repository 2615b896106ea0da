-- This upload is now the one of its file, if a.expected still was: {1}, else {0, upload id}.
local folder = 'upload_folder:' .. a.folder
local now = redis.call('HGET', folder, a.file_type) or ''
if now ~= a.expected then return {0, now} end
redis.call('HSET', folder, a.file_type, a.upload)
local key = 'upload:' .. a.upload
for name, value in pairs(a.record) do redis.call('HSET', key, name, value) end
redis.call('HSET', key, 'v', version)
redis.call('EXPIRE', key, a.ttl)
redis.call('ZADD', 'uploads', a.now_ms, a.upload)
if a.expected ~= '' then
  redis.call('ZREM', 'uploads', a.expected)
  redis.call('DEL', 'upload:' .. a.expected, 'upload_parts:' .. a.expected)
end
return {1}
