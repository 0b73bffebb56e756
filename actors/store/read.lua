-- Reads a user's head and a page of his log at one moment.
--
-- KEYS  log, head, stamp
-- ARGV  'after', seq, digest, limit, bytes: entries that follow this cursor, up to the head
--       'last', n, '', limit, bytes: those of the last n entries that are still there
--       at most `limit` of them and about `bytes` of payload, but at least one
-- Returns {settled, known, head seq, head digest, read, number of the first, digests, payload, digests, payload, …},
-- oldest first; without a head `known` is 0, and the digest is the stamp's id; without a stamp {}.
-- `read` is the number up to which the user has read (read_mark.lua).
-- `settled` is 0 where only a settled server could tell whether this is right (settled.lua).

local STEP = 64
local DIGESTS = '^' .. DIGEST .. DIGEST .. '$'
local mode, limit, bytes = ARGV[1], tonumber(ARGV[4]), tonumber(ARGV[5])
local seq, digest = read_head(KEYS[2])
local known = seq and 1 or 0
if not seq then
  seq, digest = 0, read_id(KEYS[3])
  if not digest then
    return {}
  end
end

local from
if mode == 'after' then
  from = tonumber(ARGV[2]) + 1
else
  from = math.max(1, seq - tonumber(ARGV[2]) + 1)
end
local read = known == 1 and read_mark(KEYS[2], seq) or 0
local reply, size = { 1, known, seq, digest, read, from }, 6

local function read_entries()
  local number = from
  while limit > 0 and number <= seq do
    local entries = redis.pcall('XRANGE', KEYS[1], number .. '-0', seq .. '-0', 'COUNT', math.min(limit, STEP))
    if mode == 'last' and entries[1] and size == 6 then
      number = tonumber(string.match(entries[1][1], '^%d+'))
      reply[6] = number
    end
    for _, entry in ipairs(entries) do
      local digests, payload = entry[2][2], entry[2][4]
      if entry[1] ~= number .. '-0' or not payload or not string.match(digests, DIGESTS) or bytes <= 0 then
        return
      end
      reply[size + 1], reply[size + 2] = digests, payload
      size, number = size + 2, number + 1
      limit, bytes = limit - 1, bytes - #payload
    end
    if #entries < STEP then
      return
    end
  end
end

read_entries()
local is_head = mode == 'after' and from == seq + 1 and ARGV[3] == digest
local continues = mode == 'after' and reply[7] and string.sub(reply[7], 1, 16) == ARGV[3]
if not is_head and not continues and not is_settled(KEYS[3]) then
  reply[1] = 0
end
return reply
