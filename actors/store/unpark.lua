-- Removes parked events.
--
-- KEYS  parked, records
-- ARGV  identities
-- Returns how many are left.

for _, identity in ipairs(ARGV) do
  redis.pcall('ZREM', KEYS[1], identity)
  redis.pcall('HDEL', KEYS[2], identity)
end
local left = redis.pcall('ZCARD', KEYS[1])
return type(left) == 'number' and left or 0
