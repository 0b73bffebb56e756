-- Reads a user's head and a page of his log at one moment.
--
-- KEYS  log, head
-- ARGV  'after', seq, limit, bytes: entries that follow number seq, up to the head
--       'last', n, limit, bytes: those of the last n entries that are still there
--       at most `limit` of them and about `bytes` of payload, but at least one
-- Returns {head seq, head digest, number of the first, digests, payload, digests, payload, …}, oldest first;
-- without a head: {}.

local head = redis.pcall('HMGET', KEYS[2], 's', 'd')
local seq, digest = tonumber(head[1]), head[2]
if not seq or not digest then
  return {}
end

local STEP = 64
local mode, limit, bytes = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local from
if mode == 'after' then
  from = tonumber(ARGV[2]) + 1
else
  from = math.max(1, seq - tonumber(ARGV[2]) + 1)
end

local reply, size = { seq, digest, from }, 3
while limit > 0 and from <= seq do
  local entries = redis.pcall('XRANGE', KEYS[1], from .. '-0', seq .. '-0', 'COUNT', math.min(limit, STEP))
  if mode == 'last' and entries[1] then
    mode, from = 'after', tonumber(string.match(entries[1][1], '^%d+'))
    reply[3] = from
  end
  for _, entry in ipairs(entries) do
    local digests, payload = entry[2][2], entry[2][4]
    if entry[1] ~= from .. '-0' or not payload or bytes <= 0 then
      return reply
    end
    reply[size + 1], reply[size + 2] = digests, payload
    size, from = size + 2, from + 1
    limit, bytes = limit - 1, bytes - #payload
  end
  if #entries < STEP then
    return reply
  end
end
return reply
