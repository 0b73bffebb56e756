-- Reads parked events of a batch.
--
-- KEYS  parked, records
-- ARGV  'first', n; or 'these', identities
-- Returns identity and record of each of them that is parked, in the order of their arrival or as asked for.

local identities = { unpack(ARGV, 2) }
if ARGV[1] == 'first' then
  identities = redis.pcall('ZRANGE', KEYS[1], 0, ARGV[2] - 1)
end
local found = {}
for _, identity in ipairs(identities) do
  local record = redis.pcall('HGET', KEYS[2], identity)
  if type(record) == 'string' then
    found[#found + 1] = identity
    found[#found + 1] = record
  else
    redis.pcall('ZREM', KEYS[1], identity) -- it lost its record, and would hold back the batch for ever
  end
end
return found
