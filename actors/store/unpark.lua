-- Removes parked events.
--
-- KEYS  parked, records
-- ARGV  sources
-- Returns how many are left.

for _, source in ipairs(ARGV) do
  redis.pcall('ZREM', KEYS[1], source)
  redis.pcall('HDEL', KEYS[2], source)
end
local left = redis.pcall('ZCARD', KEYS[1])
return type(left) == 'number' and left or 0
