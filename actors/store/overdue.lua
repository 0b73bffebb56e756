-- Reads the members of the index whose deadline has passed by this server's clock.
--
-- KEYS  index
-- ARGV  limit
-- Returns the members, the longest overdue first.

local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local overdue = redis.pcall('ZRANGEBYSCORE', KEYS[1], '-inf', ms, 'LIMIT', 0, ARGV[1])
return overdue.err and {} or overdue
