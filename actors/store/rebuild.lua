-- Notes up to where partitions are rebuilt; where that is noted already, the later one counts.
--
-- KEYS  rebuilding, stamp
-- ARGV  ttl (s), then fields and offsets

for at = 2, #ARGV, 2 do
  local known = redis.pcall('HGET', KEYS[1], ARGV[at])
  if type(known) == 'table' then -- not of our type: nothing of ours
    redis.call('DEL', KEYS[1])
    known = false
  end
  if (tonumber(known) or -1) < tonumber(ARGV[at + 1]) then
    redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1] * 1000)
redis.call('HSET', KEYS[2], 'rebuilding_until', redis.call('TIME')[1] + ARGV[1])
return 1
