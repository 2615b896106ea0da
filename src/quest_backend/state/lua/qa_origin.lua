-- Where a recording comes from: {what is known already, capture session, device, tablet, metadata}.
local known = redis.call('HGET', 'qa_session:' .. a.session, 'origin') or ''
local uploads = redis.call('HMGET', 'upload_folder:' .. a.session, 'data', 'video')
for _, id in ipairs({uploads[1] or '', uploads[2] or ''}) do
  local from = redis.call('HMGET', 'upload:' .. id, 'sessionId', 'deviceId')
  if from[2] then
    local capture = redis.call('HMGET', 'session:' .. (from[1] or ''), 'tabletIdentity', 'metadata')
    return {known, from[1] or '', from[2], capture[1] or '', capture[2] or ''}
  end
end
return {known, '', '', '', ''}
