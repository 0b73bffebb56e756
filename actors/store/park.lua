-- Resolves a batch, or parks its events: both at one moment, so that no event overtakes a parked one.
--
-- KEYS  user, parked (sorted set: identity by arrival), records (hash: record by identity); checkpoints with the canary
-- ARGV  the canary: a field of the checkpoints and the least it must be, or an empty text and 0;
--       limit, then an identity and a record for each event; none: only resolve
-- Returns the user if he is known and nothing is parked; else for each event 1 (parked) or 0 (no room).

-- Whoever parks in a Redis that has lost what went before would put later events first.
local has_lost = lost(KEYS[4], ARGV[1], ARGV[2])
if has_lost then
  return has_lost
end
local user = redis.pcall('GET', KEYS[1])

-- How many are in a key; one of another type is nothing of ours.
local function count(command, key)
  local found = redis.pcall(command, key)
  if type(found) == 'table' then
    redis.call('DEL', key)
    return 0
  end
  return found
end

-- Whoever meddled with the keys: what has no record is not parked, and what has one is, after the others.
local function agree()
  for _, identity in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
    if redis.call('HEXISTS', KEYS[3], identity) == 0 then
      redis.call('ZREM', KEYS[2], identity)
    end
  end
  local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
  local kept = redis.call('HKEYS', KEYS[3])
  table.sort(kept, function(a, b) -- of one partition by offset
    return #a < #b or #a == #b and a < b
  end)
  for at, identity in ipairs(kept) do
    redis.call('ZADD', KEYS[2], 'NX', tonumber(last[2] or 0) + at, identity)
  end
  return #kept
end

local waiting, kept = count('ZCARD', KEYS[2]), count('HLEN', KEYS[3])
if waiting ~= kept then
  waiting = agree()
end
if type(user) == 'string' and waiting == 0 then
  return user
end

local limit, last = tonumber(ARGV[3]), redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
local arrival, parked = tonumber(last[2] or 0), {}
for at = 4, #ARGV, 2 do
  local identity, record = ARGV[at], ARGV[at + 1]
  local room = 1
  if not redis.call('ZSCORE', KEYS[2], identity) then
    if waiting < limit then
      waiting, arrival = waiting + 1, arrival + 1
      redis.call('HSET', KEYS[3], identity, record)
      redis.call('ZADD', KEYS[2], arrival, identity)
    else
      room = 0
    end
  end
  parked[#parked + 1] = room
end
return parked
