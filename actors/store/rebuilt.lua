-- Forgets partitions that were rebuilt.
--
-- KEYS  rebuilding, stamp
-- ARGV  fields

redis.pcall('HDEL', KEYS[1], unpack(ARGV))
local left = redis.pcall('HLEN', KEYS[1])
if type(left) == 'table' or left == 0 then
  redis.call('HDEL', KEYS[2], 'rebuilding_until')
end
return 1
