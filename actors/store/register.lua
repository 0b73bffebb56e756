-- Says whose batch it is; the first one said stays.
--
-- KEYS  user; checkpoints with the canary
-- ARGV  user id, ttl (ms); the canary: a field of the checkpoints and the least it must be, or an empty text and 0
-- Returns 'new' or 'same', or {the user who was said before}.

-- In a Redis that has lost the first one, the second one would be it.
local has_lost = lost(KEYS[2], ARGV[3], ARGV[4])
if has_lost then
  return has_lost
end
local known = redis.pcall('GET', KEYS[1])
if type(known) == 'table' then -- not a string: nothing of ours
  redis.call('DEL', KEYS[1])
  known = false
end
if known and known ~= ARGV[1] then
  return { known }
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return known and 'same' or 'new'
