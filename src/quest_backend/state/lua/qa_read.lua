-- Results with their reviews, of a.ids, or of a.limit sessions after a.after in order of their names:
-- {id, {result, extended, fingerprint, origin}, {decision, reason, by, at, files}} each.
local ids = a.ids or redis.call('ZRANGEBYLEX', 'qa_sessions', a.after, '+', 'LIMIT', 0, a.limit)
local out = {}
for i, id in ipairs(ids) do
  out[i] = {
    id,
    redis.call('HMGET', 'qa_session:' .. id, 'result', 'extended', 'fingerprint', 'origin'),
    redis.call('HMGET', 'qa_review:' .. id, 'decision', 'reason', 'by', 'at', 'files'),
  }
end
return out
