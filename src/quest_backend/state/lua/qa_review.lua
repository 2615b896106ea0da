-- Keep or clear the decision on a recording as it is now. Its files, or '' when it is not known.
local kept = redis.call('HMGET', 'qa_session:' .. a.session, 'fingerprint', 'verdict')
if not kept[1] then return '' end
local files = string.match(kept[1], '^[^:]*:(.*)$')
local key = 'qa_review:' .. a.session
redis.call('DEL', key)
if a.decision then
  redis.call('HSET', key, 'decision', a.decision, 'reason', a.reason, 'by', a.by, 'at', a.at, 'files', files)
end
qa_place(a.session, kept[2])
return files
