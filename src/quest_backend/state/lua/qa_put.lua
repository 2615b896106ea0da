-- Keep a result and its part of the running sums, once, and tell of it. 'kept', 'same' or 'older'.
local key = 'qa_session:' .. a.session
local had = redis.call('HMGET', key, 'fingerprint', 'modified', 'share')
if had[1] == a.fingerprint then return 'same' end
-- A worker that was slow must not replace the result of newer files.
if had[2] and tonumber(had[2]) > a.modified then return 'older' end
if had[3] then
  -- Not -value: Redis 7 writes -0 for a zero, and then refuses it.
  for name, value in pairs(cjson.decode(had[3])) do redis.call('HINCRBY', 'qa_totals', name, 0 - value) end
end
for name, value in pairs(a.share) do redis.call('HINCRBY', 'qa_totals', name, value) end
redis.call('HSET', 'qa_totals', 'updated', a.now)
redis.call('HSET', key, 'fingerprint', a.fingerprint, 'modified', a.modified_text, 'result', a.result,
           'extended', a.extended, 'score', a.score, 'origin', a.origin, 'share', cjson.encode(a.share))
redis.call('ZADD', 'qa_sessions', 0, a.session)
qa_place(a.session, a.verdict)
redis.call('XADD', 'qa_news', 'MAXLEN', '~', 10000, '*', 'sessionId', a.session, 'score', a.score,
           'verdict', a.verdict, 'origin', a.origin, 'modified', a.modified_text)
return 'kept'
