-- Writes the stamp of the store, unless a newer Doorstep has written it.
--
-- KEYS  stamp
-- ARGV  format, id, 'always' or 'unless there is one'
-- Returns the format and the id that are there now.

local is = redis.pcall('HMGET', KEYS[1], 'format', 'id')
if is.err then -- not of our type: nothing of ours
  redis.call('UNLINK', KEYS[1])
  is = {}
end
local format, id = tonumber(is[1]) or 0, is[2]
if format > tonumber(ARGV[1]) then
  return { format, id or '' }
end
if ARGV[3] == 'always' or not id or not string.match(id, '^' .. string.rep('[0-9a-f]', 16) .. '$') then
  id = ARGV[2]
end
redis.call('HSET', KEYS[1], 'format', ARGV[1], 'id', id)
return { tonumber(ARGV[1]), id }
