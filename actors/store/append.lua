-- Appends notifications to users' logs and publishes what was new: dedupe, number, digest, XADD, PUBLISH.
--
-- KEYS  the consumer group's checkpoints; the stamp; for each user, in the order of the message: log, head, ids
-- ARGV  the message (below); the payloads of all entries, in its order
-- The message is a flat msgpack array, which costs less than as many arguments:
--       the canary: a field of the checkpoints and the least it must be, or an empty text and 0;
--       max_count, ttl (ms), head ttl (ms), dedupe window, publishing command, number of slots;
--       each slot: channel, number of users;
--       each user: id, number of entries, their dedupe keys
-- Returns how many entries were new, and how many users' keys had to be repaired.
--
-- A script that fails midway is not rolled back. So the shape of the arguments is checked before anything
-- else, and every command that keys in a wrong state could make fail is called by `try`. The first write may
-- still be refused (out of memory, read-only); the later ones then are not, and nothing was written yet.

local call, try, sha1hex = redis.call, redis.pcall, redis.sha1hex
local sub, match, floor = string.sub, string.match, math.floor
local FEED_FORMAT = 1
local DIGESTS = '^' .. DIGEST .. DIGEST .. '$'

local message

local function has_its_shape()
  message = cmsgpack.unpack(ARGV[1])
  for i = 2, 6 do
    if type(message[i]) ~= 'number' then
      return false
    end
  end
  local at, users, entries = 9, 0, 0
  for _ = 1, message[8] do
    local of_slot = message[at + 1]
    at = at + 2
    users = users + of_slot
    for _ = 1, of_slot do
      entries = entries + message[at + 1]
      at = at + 2 + message[at + 1]
    end
  end
  return at == #message + 1 and #KEYS == 2 + 3 * users and #ARGV == 1 + entries
end

local could, is_right = pcall(has_its_shape)
if not (could and is_right) then
  return redis.error_reply('ERR doorstep append: the arguments do not have the shape that append.lua describes')
end

local max_count, ttl, head_ttl, window = message[3], message[4], message[5], message[6]
local publish, slots = message[7], message[8]

-- Whoever appends to a Redis that has lost what went before would put later events first.
local has_lost = lost(KEYS[1], message[1], message[2])
if has_lost then
  return has_lost
end
local start = read_id(KEYS[2])
if not start then
  return redis.error_reply('DSLOST there is no stamp ' .. KEYS[2])
end

local trim_every = floor(window / 64) + 1
local time = call('TIME')
local now = time[1] * 1000 + floor(time[2] / 1000)
local repairs = 0

-- Delete the keys that are there; a DEL that deletes nothing would still count as the script's first write.
local function forget(...)
  if call('EXISTS', ...) > 0 then
    call('UNLINK', ...)
    repairs = repairs + 1
  end
end

-- Make the log agree with its head: one that is ahead of it is believed, any other one is deleted.
local function settle(log, seq, digest)
  local entry = try('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  local last = entry and number_in(match(entry[1], '^(%d+)%-0$'))
  local digests = last and entry[2][1] == 'd' and match(entry[2][2], DIGESTS)
  if digests and last > seq then
    repairs = repairs + 1
    return last, sub(digests, 17)
  end
  if not (digests and last == seq and sub(digests, 17) == digest) then
    forget(log)
  end
  return seq, digest
end

-- The user's head: number, digest, when his keys' expirations were set (0: they have to be).
local function head_of(log, head, ids)
  local seq, digest, since = read_head(head)
  if not seq then
    forget(log, head, ids)
    return 0, start, 0
  end
  if since <= now and (now - since) * 100 < ttl then
    return seq, digest, since
  end
  seq, digest = settle(log, seq, digest)
  return seq, digest, 0
end

-- Claim the dedupe key for an entry: whether it is new. One command finds that out and remembers it.
local function claim(ids, seq, key)
  local added = try('ZADD', ids, 'NX', seq, key)
  if type(added) == 'table' then
    if not match(added.err, 'WRONGTYPE') then
      error(added.err)
    end
    forget(ids)
    added = call('ZADD', ids, 'NX', seq, key)
  end
  return added == 1
end

-- Whether an append failed because of what the log is, not because the server can't append now.
local function is_of_the_log(err)
  return match(err, 'WRONGTYPE') or match(err, 'stream')
end

-- Add the entry, whose key was claimed, after (seq, digest), as `<seq + 1>-0`; returns its number, its digest
-- and the one before it. Trimming costs, so it is done now and then.
local function add(log, ids, seq, digest, key, payload)
  for attempt = 1, 3 do
    local following = sub(sha1hex(digest .. key), 1, 16)
    local added
    if (seq + 1) % 16 == 0 then
      added = try('XADD', log, 'MAXLEN', '~', max_count, seq + 1, 'd', digest .. following, 'n', payload)
    else
      added = try('XADD', log, seq + 1, 'd', digest .. following, 'n', payload)
    end
    if type(added) == 'string' then
      return seq + 1, following, digest
    end
    if attempt == 3 or not is_of_the_log(added.err) then
      call('ZREM', ids, key) -- or its repetition would be taken for a repeat
      error(added.err)
    end
    if attempt == 1 then
      seq, digest = settle(log, seq, digest)
      call('ZADD', ids, seq + 1, key)
    else
      forget(log) -- it was once longer than it is: a stream remembers that
    end
  end
end

-- Set all expirations, 1 % longer than promised: they are set again only when that moves them by more than 1 %.
-- Dedupe keys of entries to come are nothing of ours, and would take the place of known ones.
local function renew(log, head, ids, seq)
  call('ZREMRANGEBYSCORE', ids, '(' .. seq, '+inf')
  call('PEXPIRE', log, floor(ttl * 1.01))
  call('PEXPIRE', ids, floor(ttl * 1.01))
  call('PEXPIRE', head, floor(head_ttl * 1.01))
end

local new, taken = 0, 1 -- `taken`: the place in ARGV of the last payload that was looked at
local news, size

-- `first` is the place of the user's first dedupe key in the message.
local function append(user, log, head, ids, first, entries)
  local before, digest, since = head_of(log, head, ids)
  local seq, repaired = before, repairs
  for i = first, first + entries - 1 do
    taken = taken + 1
    if claim(ids, seq + 1, message[i]) then
      local previous
      seq, digest, previous = add(log, ids, seq, digest, message[i], ARGV[taken])
      news[size + 1], news[size + 2], news[size + 3] = user, seq, previous
      news[size + 4], news[size + 5] = digest, ARGV[taken]
      size = size + 5
    end
  end
  if seq == before then
    return
  end
  if floor(seq / trim_every) ~= floor(before / trim_every) then
    call('ZREMRANGEBYRANK', ids, 0, -window - 1)
  end
  if since > 0 and repaired == repairs then
    call('HSET', head, 's', seq, 'd', digest)
  else
    call('HSET', head, 's', seq, 'd', digest, 'e', now)
    renew(log, head, ids, seq)
  end
end

local at, k = 9, 2
for _ = 1, slots do
  local channel, users = message[at], message[at + 1]
  at = at + 2
  news, size = { FEED_FORMAT }, 1
  for _ = 1, users do
    local entries = message[at + 1]
    append(message[at], KEYS[k + 1], KEYS[k + 2], KEYS[k + 3], at + 2, entries)
    at = at + 2 + entries
    k = k + 3
  end
  if size > 1 then
    new = new + (size - 1) / 5
    call(publish, channel, cmsgpack.pack(news))
  end
end
return { new, repairs }
