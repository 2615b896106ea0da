-- {entries, running, later, done, dead, state of the refresh, listed, total, left}
local pending = redis.pcall('XPENDING', 'qa_jobs', a.group)
local refresh = redis.call('HMGET', 'qa_refresh', 'state', 'listed', 'total')
return {redis.call('XLEN', 'qa_jobs'), pending.err and 0 or pending[1],
        redis.call('ZCARD', 'qa_later'), redis.call('HGET', 'qa_counts', 'done') or 0,
        redis.call('ZCARD', 'qa_dead_order'), refresh[1] or '', refresh[2] or 0, refresh[3] or 0,
        redis.call('SCARD', 'qa_refresh_left')}
