-- Resolves a batch, or parks its events: both at one moment, so that no event overtakes a parked one.
--
-- KEYS  user, parked (sorted set: source by arrival), records (hash: record by source)
-- ARGV  limit, then a source and a record for each event; none: only resolve
-- Returns the user if he is known and nothing is parked; else for each event 1 (parked) or 0 (no room).

local user = redis.pcall('GET', KEYS[1])
local waiting = redis.pcall('ZCARD', KEYS[2])
local kept = redis.pcall('HLEN', KEYS[3])
if type(waiting) == 'table' or type(kept) == 'table' then -- not of our types: nothing of ours
  redis.call('DEL', KEYS[2], KEYS[3])
  waiting = 0
end
if type(user) == 'string' and waiting == 0 then
  return user
end

local limit, last = tonumber(ARGV[1]), redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
local arrival, parked = tonumber(last[2] or 0), {}
for at = 2, #ARGV, 2 do
  local source, record = ARGV[at], ARGV[at + 1]
  local room = 1
  if not redis.call('ZSCORE', KEYS[2], source) then
    if waiting < limit then
      waiting, arrival = waiting + 1, arrival + 1
      redis.call('HSET', KEYS[3], source, record)
      redis.call('ZADD', KEYS[2], arrival, source)
    else
      room = 0
    end
  end
  parked[#parked + 1] = room
end
return parked
