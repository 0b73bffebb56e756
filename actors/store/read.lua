-- Reads a user's head and a page of his log at one moment.
--
-- KEYS  log, head, stamp
-- ARGV  'after', seq, limit, bytes: entries that follow number seq, up to the head
--       'last', n, limit, bytes: those of the last n entries that are still there
--       at most `limit` of them and about `bytes` of payload, but at least one
-- Returns {1, head seq, head digest, number of the first, digests, payload, digests, payload, …}, oldest first;
-- without a head {0, 0, the stamp's id, 1}; without a stamp {}.

local seq, digest = read_head(KEYS[2])
if not seq then
  local id = read_id(KEYS[3])
  return id and { 0, 0, id, 1 } or {}
end

local STEP = 64
local DIGESTS = '^' .. DIGEST .. DIGEST .. '$'
local mode, limit, bytes = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local from
if mode == 'after' then
  from = tonumber(ARGV[2]) + 1
else
  from = math.max(1, seq - tonumber(ARGV[2]) + 1)
end

local reply, size = { 1, seq, digest, from }, 4
while limit > 0 and from <= seq do
  local entries = redis.pcall('XRANGE', KEYS[1], from .. '-0', seq .. '-0', 'COUNT', math.min(limit, STEP))
  if mode == 'last' and entries[1] then
    mode, from = 'after', tonumber(string.match(entries[1][1], '^%d+'))
    reply[4] = from
  end
  for _, entry in ipairs(entries) do
    local digests, payload = entry[2][2], entry[2][4]
    if entry[1] ~= from .. '-0' or not payload or not string.match(digests, DIGESTS) or bytes <= 0 then
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
