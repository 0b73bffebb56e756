-- Says which cells live, after one of them has said that it does, or leaves.
--
-- KEYS  cells: name by the time at which it was heard (sorted set, ms)
-- ARGV  how long a cell lives without a word, ms; optional: 'here' or 'gone', its name
-- Returns the names.

local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
if ARGV[2] == 'here' then
  redis.call('ZADD', KEYS[1], now, ARGV[3])
elseif ARGV[2] == 'gone' then
  redis.call('ZREM', KEYS[1], ARGV[3])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return redis.call('ZRANGE', KEYS[1], 0, -1)
