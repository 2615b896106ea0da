-- Jobs whose time has come go into the queue. How many.
local due = redis.call('ZRANGEBYSCORE', 'qa_later', '-inf', a.now, 'LIMIT', 0, 100)
for _, message in ipairs(due) do
  redis.call('ZREM', 'qa_later', message)
  redis.call('XADD', 'qa_jobs', '*', 'data', message)
end
return #due
