-- Says whose batch it is; the first one said stays.
--
-- KEYS  user
-- ARGV  user id, ttl (ms)
-- Returns 'new' or 'same', or {the user who was said before}.

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
