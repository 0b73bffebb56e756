-- Tries every command that Doorstep gives to Redis, on a key and a channel that nobody else uses.
--
-- KEYS  the key
-- ARGV  publishing command, channel
-- Returns command and error of each that failed.

local key = KEYS[1]
local tries = {
  { 'TIME' }, { 'INFO', 'server' }, { 'DEL', key },
  { 'SET', key, '', 'PX', 1000 }, { 'GET', key }, { 'MGET', key }, { 'EXISTS', key }, { 'DEL', key },
  { 'HSET', key, 'f', '' }, { 'PEXPIRE', key, 1000 }, { 'HGET', key, 'f' }, { 'HMGET', key, 'f' },
  { 'HGETALL', key }, { 'HLEN', key }, { 'HKEYS', key }, { 'HEXISTS', key, 'f' }, { 'HDEL', key, 'g' },
  { 'UNLINK', key },
  { 'ZADD', key, 1, 'm' }, { 'PEXPIRE', key, 1000 }, { 'ZCARD', key }, { 'ZSCORE', key, 'm' },
  { 'ZRANGE', key, 0, -1 }, { 'ZRANGEBYSCORE', key, 0, 0 }, { 'ZSCAN', key, 0 }, { 'ZREM', key, 'n' },
  { 'ZREMRANGEBYRANK', key, 1, 1 }, { 'ZREMRANGEBYSCORE', key, 2, 2 }, { 'DEL', key },
  { 'XADD', key, '1-0', 'f', '' }, { 'PEXPIRE', key, 1000 }, { 'XRANGE', key, '-', '+' },
  { 'XREVRANGE', key, '+', '-' }, { 'DEL', key },
  { ARGV[1], ARGV[2], '' },
}
local failed = {}
for _, try in ipairs(tries) do
  local said = redis.pcall(unpack(try))
  if type(said) == 'table' and said.err then
    failed[#failed + 1] = try[1]
    failed[#failed + 1] = said.err
  end
end
return failed
