-- Remembers in a user's head how far he has read, and has his subscribers look.
--
-- KEYS  log, head
-- ARGV  number and digest of the cursor that he has read up to; the user; the channel of his slot, publishing command
-- Returns 1, or 0 where that is no news, or no cursor of this log, so that nothing was done.
--
-- What is published continues nobody's cursor, so every holder of the feed reads the log for the user's
-- subscribers, and finds the mark there.

local FEED_FORMAT = 1
local wanted, digest = number_in(ARGV[1]), ARGV[2]
local seq, head_digest = read_head(KEYS[2])
if not seq or not wanted or wanted > seq or wanted <= read_mark(KEYS[2], seq) then
  return 0
end

-- The digest after an entry is told by itself, by the one that follows, and by the head.
local function is_of_this_log()
  if wanted == seq then
    return digest == head_digest
  end
  local entry = redis.pcall('XRANGE', KEYS[1], wanted .. '-0', wanted + 1 .. '-0', 'COUNT', 1)[1]
  local digests = entry and entry[2][2] or ''
  local is_next = entry and entry[1] == wanted + 1 .. '-0'
  return string.sub(digests, is_next and 1 or 17, is_next and 16 or 32) == digest
end

if not is_of_this_log() then
  return 0
end
redis.call('HSET', KEYS[2], 'r', wanted)
redis.call(ARGV[5], ARGV[4], cmsgpack.pack({ FEED_FORMAT, ARGV[3], 0, '', '', '' }))
return 1
