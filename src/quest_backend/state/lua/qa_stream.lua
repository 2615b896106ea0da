-- The schema's part of a.limit results after a.after, in order of their ids: {last id, result, ...}.
local ids = redis.call('ZRANGEBYLEX', 'qa_sessions', a.after, '+', 'LIMIT', 0, a.limit)
local out = {ids[#ids] or ''}
for _, id in ipairs(ids) do
  local result = redis.call('HGET', 'qa_session:' .. id, 'result')
  if result then out[#out + 1] = result end
end
return out
