-- Takes or keeps a lock that ends by itself.
--
-- KEYS  lock
-- ARGV  token of who asks, time to live (ms)
-- Returns 1 if the lock is (or was) his, else 0.

local holder = redis.pcall('GET', KEYS[1])
if type(holder) == 'string' and holder ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
