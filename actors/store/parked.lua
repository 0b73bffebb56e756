-- Reads parked events of a batch.
--
-- KEYS  parked, records
-- ARGV  'first', n; or 'these', sources
-- Returns for each of them that is parked its record, in the order of their arrival or as asked for.

local sources = { unpack(ARGV, 2) }
if ARGV[1] == 'first' then
  sources = redis.pcall('ZRANGE', KEYS[1], 0, ARGV[2] - 1)
end
local records = {}
for _, source in ipairs(sources) do
  local record = redis.pcall('HGET', KEYS[2], source)
  if type(record) == 'string' then
    records[#records + 1] = record
  end
end
return records
