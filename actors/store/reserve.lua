-- Enters events into the index of all parked ones, before they are parked.
--
-- KEYS  index (sorted set: `identity batch` by deadline, in ms of this server's clock)
-- ARGV  limit, time to live (ms), members
-- Returns for each member 1 (it is in the index, now or already) or 0 (the index is full).

local count = redis.pcall('ZCARD', KEYS[1])
if type(count) == 'table' then -- not of our type: nothing of ours
  redis.call('DEL', KEYS[1])
  count = 0
end

local limit, now = tonumber(ARGV[1]), redis.call('TIME')
local deadline = now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[2]
local reserved = {}
for at = 3, #ARGV do
  local room = 1
  if not redis.call('ZSCORE', KEYS[1], ARGV[at]) then
    if count < limit then
      count = count + 1
      redis.call('ZADD', KEYS[1], deadline, ARGV[at])
    else
      room = 0
    end
  end
  reserved[#reserved + 1] = room
end
return reserved
