-- Note what is known of an upload, and what becomes of its device's part in the session.
-- {} for an unknown or finished upload; else {1} or {1, session, device, status, progress, revision}.
local key = 'upload:' .. a.upload
local r = redis.call('HMGET', key, 'state', 'bytes', 'fileSize', 'sessionId', 'deviceId', 'folder', 'fileType')
if r[1] ~= 'uploading' then return {} end
local folder = 'upload_folder:' .. r[6]
if a.begun then
  -- The first start is no retry; one that goes on, or takes the place of another, is.
  if redis.call('HSETNX', folder, r[7] .. 'Started', a.begun) == 0 then
    redis.call('HINCRBY', folder, r[7] .. 'Retries', 1)
  end
end
local state, bytes, size = a.state or 'uploading', tonumber(r[2]) or 0, tonumber(r[3])
if a.part then
  local parts = 'upload_parts:' .. a.upload
  local old = tonumber(redis.call('HGET', parts, a.part)) or 0
  if old > 0 then redis.call('HINCRBY', folder, r[7] .. 'Retries', 1) end
  redis.call('HSET', parts, a.part, a.size)
  redis.call('EXPIRE', parts, a.ttl)
  bytes = bytes + a.size - old
end
if a.bytes then bytes = a.bytes end
if state == 'completed' then bytes = size end
redis.call('HSET', key, 'state', state, 'bytes', string.format('%d', bytes))
if a.fields then
  for name, value in pairs(a.fields) do redis.call('HSET', key, name, value) end
end
if state ~= 'uploading' then
  redis.call('ZREM', 'uploads', a.upload)
  redis.call('DEL', 'upload_parts:' .. a.upload)
  if state == 'completed' then
    redis.call('HSET', folder, r[7] .. 'Size', r[3], r[7] .. 'Etag', a.fields.etag or '',
      r[7] .. 'Checksum', a.fields.checksum or '')
  end
end
local session = r[4] or ''
if session == '' then return {1} end
local files = 'session_uploads:' .. session
redis.call('HSET', files, r[5] .. '|' .. r[6] .. '|' .. r[7],
  string.format('%d:%d:%s', size, math.min(bytes, size), state))
redis.call('EXPIRE', files, a.session_ttl)
-- The device's part: all files of all its takes together, by bytes; done when each take has both.
local total, done, active, failed, takes = 0, 0, false, false, {}
local all = redis.call('HGETALL', files)
for i = 1, #all, 2 do
  local device, folder = string.match(all[i], '^([^|]*)|([^|]*)|')
  if device == r[5] then
    local s, b, what = string.match(all[i + 1], '^(%d+):(%d+):(%a+)$')
    total, done = total + tonumber(s), done + tonumber(b)
    active = active or what == 'uploading'
    failed = failed or (what ~= 'uploading' and what ~= 'completed')
    takes[folder] = (takes[folder] or 0) + (what == 'completed' and 1 or 0)
  end
end
local whole = true
for _, count in pairs(takes) do whole = whole and count == 2 end
local status = 'uploading'
if not active and whole then status = 'completed' elseif not active and failed then status = 'failed' end
local progress = total > 0 and math.floor(100 * done / total) or 0
if status ~= 'completed' then progress = math.min(progress, 99) end
local devices = 'session_devices:' .. session
local before = redis.call('HGET', devices, r[5] .. ':uploadStatus')
redis.call('HSET', devices, r[5] .. ':uploadStatus', status, r[5] .. ':uploadProgress', progress)
redis.call('EXPIRE', devices, a.session_ttl)
-- Whoever is deciding about the session has to look again.
if before ~= status and redis.call('EXISTS', 'session:' .. session) == 1 then
  redis.call('HINCRBY', 'session:' .. session, 'rev', 1)
end
return {1, session, r[5], status, progress, redis.call('HINCRBY', files, 'rev', 1)}
