-- Changes a value, unless somebody else has changed it meanwhile.
--
-- KEYS  value (string)
-- ARGV  what it holds, empty where there is none; what it is to hold
-- Returns 1 where it was changed, 0 where it holds something else.

if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
