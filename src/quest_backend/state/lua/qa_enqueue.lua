-- Put jobs {name, message} into the queue, except those that wait there already. How many were put.
local put = 0
for _, job in ipairs(a.jobs) do
  if a.refresh then redis.call('SADD', 'qa_refresh_left', job[1]) end
  if redis.call('SADD', 'qa_waiting', job[1]) == 1 then
    redis.call('XADD', 'qa_jobs', '*', 'data', job[2])
    put = put + 1
  end
end
if a.refresh then redis.call('HINCRBY', 'qa_refresh', 'total', #a.jobs) end
return put
