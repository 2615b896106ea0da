-- Shared by every script. Arguments come as one JSON object; answers are flat arrays of strings.
-- Portable: nothing here needs more than Redis 7. Key names and TTLs: docs/state.md.
local a = cjson.decode(ARGV[1])
local revision = nil
-- Of messages and records: state/versions.py says what it means.
local version = 1

local function rev()
  if not revision then revision = redis.call('INCR', 'fleet:revision') end
  return revision
end

-- What every node is told when the script has ended: in the same step, so that no commit goes untold.
local touched, news = {}, {}

local function touch(id, ...)
  local key = 'device:' .. id
  if not touched[id] then
    touched[id] = true
    touched[#touched + 1] = id
  end
  redis.call('HSET', key, 'deviceId', id, 'rev', rev(), ...)
  redis.call('EXPIRE', key, a.device_ttl)
end

-- What a headset is told, until it says that it does so: whoever holds its socket tells it again.
local function command(id, what)
  touch(id, 'commanded', what)
end

-- Whether a headset is not, or may soon not be, in the state that ``what`` wants: a stop right after a
-- start must not be lost because the start is not yet confirmed.
local function needs(id, what)
  local state = redis.call('HMGET', 'device:' .. id, 'isRecording', 'commanded')
  local told = state[2] or ''
  return (state[1] == '1') ~= (what == 'start') or (told ~= '' and told ~= what)
end

-- A device as committed: {id, name, session, field, value, ...}
local function row(id)
  local fields = redis.call('HGETALL', 'device:' .. id)
  local name = redis.call('HGET', 'device_names', id) or ''
  local session = redis.call('GET', 'device_session:' .. id) or ''
  return {id, name, session, unpack(fields)}
end

local function rows(ids)
  local out = {}
  for i, id in ipairs(ids) do out[i] = row(id) end
  return out
end

local function online(id)
  return redis.call('HGET', 'device:' .. id, 'isOnline') == '1'
end

local function lead(identity)
  return redis.call('HGET', 'tablet:' .. identity, 'socketId') or ''
end

local function take(id, socket)
  redis.call('SET', 'lock:' .. id, socket, 'EX', a.lock_ttl)
  redis.call('SADD', 'tablet_locks:' .. socket, id)
  touch(id, 'lockedByTabletId', socket, 'lockedAt', a.now)
end

-- Free a lock whoever holds it; the holder's socket id, or ''.
local function free(id)
  local holder = redis.call('GET', 'lock:' .. id) or redis.call('HGET', 'device:' .. id, 'lockedByTabletId') or ''
  redis.call('DEL', 'lock:' .. id)
  if holder ~= '' then redis.call('SREM', 'tablet_locks:' .. holder, id) end
  redis.call('HDEL', 'device:' .. id, 'lockedByTabletId', 'lockedAt')
  touch(id)
  return holder
end

-- Whether somebody speaks for a node that was dead and is back: it knows better by now.
local function mistaken()
  return a.dead_node and redis.call('EXISTS', 'node:' .. a.dead_node) == 1
end

-- 'free', 'mine', 'held' or 'offline', for a tablet's socket.
local function availability(id, socket)
  if not online(id) then return 'offline' end
  local holder = redis.call('GET', 'lock:' .. id)
  if not holder then return 'free' end
  if holder == socket then return 'mine' end
  return 'held'
end

-- Put a measured recording into the lists that its verdict and review belong to.
local function qa_place(session, verdict)
  local key = 'qa_session:' .. session
  local kept = redis.call('HMGET', key, 'fingerprint', 'score', 'place', 'listed')
  local review = redis.call('HMGET', 'qa_review:' .. session, 'decision', 'files')
  -- A review of other files is open again.
  local same = review[2] and review[2] == string.match(kept[1], '^[^:]*:(.*)$')
  local place = verdict .. ':' .. (same and review[1] or 'open')
  local listed = kept[2] .. ':' .. session
  if kept[3] then
    redis.call('ZREM', 'qa_list:date:' .. kept[3], session)
    redis.call('ZREM', 'qa_list:score:' .. kept[3], kept[4])
  end
  redis.call('ZADD', 'qa_list:date:' .. place, 0, session)
  redis.call('ZADD', 'qa_list:score:' .. place, 0, listed)
  redis.call('HSET', key, 'verdict', verdict, 'place', place, 'listed', listed)
end

local function tell(message)
  message.v, message.n = version, a.origin or ''
  redis.call('XADD', 'fleet:changes', 'MAXLEN', '~', 20000, '*', 'm', cjson.encode(message))
end

local function announce()
  for _, message in ipairs(news) do tell(message) end
  for first = 1, #touched, 50 do
    tell({k = 'devices', rows = rows({unpack(touched, first, math.min(first + 49, #touched))})})
  end
end
