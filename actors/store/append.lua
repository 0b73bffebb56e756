-- Appends notifications to users' logs and publishes what was new: dedupe, number, digest, XADD, PUBLISH.
--
-- KEYS  the consumer group's marks; for each user, in the order of ARGV: log, head, ids
-- ARGV  the witness: a field of the marks and what it must be, or two empty texts;
--       max_count, ttl (ms), head ttl (ms), dedupe window, publishing command, number of slots;
--       each slot: channel, number of users;
--       each user: id, number of entries, their dedupe keys, their payloads
-- Returns for each entry, in order, its number: positive if it is new, negative if it is a repeat; last, how
-- many users' keys had to be repaired.
--
-- A script that fails midway is not rolled back. So the shape of ARGV is checked before anything else, and
-- every command that keys in a wrong state could make fail is called by `try`. The first write of the script
-- may still be refused (out of memory, read-only); the later ones then are not, and nothing was written yet.

local call, try = redis.call, redis.pcall
local sub, match, floor = string.sub, string.match, math.floor
local START = '0000000000000000'

local max_count, ttl, head_ttl = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local window, publish, slots = tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])

local function has_its_shape()
  if not (max_count and ttl and head_ttl and window) then
    return false
  end
  local at, users = 9, 0
  for _ = 1, slots do
    local of_slot = tonumber(ARGV[at + 1])
    at = at + 2
    users = users + of_slot
    for _ = 1, of_slot do
      at = at + 2 + 2 * tonumber(ARGV[at + 1])
    end
  end
  return at == #ARGV + 1 and #KEYS == 1 + 3 * users
end

local could, is_right = pcall(has_its_shape)
if not (could and is_right) then
  return redis.error_reply('ERR doorstep append: the arguments do not have the shape that append.lua describes')
end

-- Whoever appends to a Redis that has lost what went before would put later events first.
if ARGV[1] ~= '' and try('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return redis.error_reply('DSLOST the witness of ' .. KEYS[1] .. ' is gone')
end

local trim_every = floor(window / 64) + 1
local time = call('TIME')
local now = time[1] * 1000 + floor(time[2] / 1000)
local repairs = 0

-- Delete the keys that are there; a DEL that deletes nothing would still count as the script's first write.
local function forget(...)
  if call('EXISTS', ...) > 0 then
    call('DEL', ...)
    repairs = repairs + 1
  end
end

-- Make the log agree with its head: one that is ahead of it is believed, any other one is deleted.
local function settle(log, seq, digest)
  local entry = try('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  local last = entry and tonumber(match(entry[1], '^(%d+)%-0$'))
  local digests = last and entry[2][1] == 'd' and #entry[2][2] == 32 and entry[2][2]
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
  local is = try('HMGET', head, 's', 'd', 'e')
  local seq, digest, since = tonumber(is[1]), is[2], tonumber(is[3]) or 0
  if not seq or not digest then
    forget(log, head, ids)
    return 0, START, 0
  end
  if since <= now and (now - since) * 100 < ttl then
    return seq, digest, since
  end
  seq, digest = settle(log, seq, digest)
  return seq, digest, 0
end

-- Add the entry after (seq, digest), as `<seq + 1>-0`; returns its number, its digest and the one before it.
-- Trimming costs, so it is done now and then.
local function add(log, seq, digest, key, payload)
  for attempt = 1, 3 do
    local following = sub(redis.sha1hex(digest .. key), 1, 16)
    local added
    if (seq + 1) % 16 == 0 then
      added = try('XADD', log, 'MAXLEN', '~', max_count, seq + 1, 'd', digest .. following, 'n', payload)
    else
      added = try('XADD', log, seq + 1, 'd', digest .. following, 'n', payload)
    end
    if type(added) == 'string' then
      return seq + 1, following, digest
    end
    if attempt == 3 or not (match(added.err, 'smaller') or match(added.err, 'WRONGTYPE')) then
      error(added.err)
    end
    if attempt == 1 then
      seq, digest = settle(log, seq, digest)
    else
      forget(log) -- it was once longer than it is: a stream remembers that
    end
  end
end

local function set_expirations(log, head, ids)
  -- 1 % longer than promised, because they are set again only when that moves them by more than 1 %
  call('PEXPIRE', log, floor(ttl * 1.01))
  call('PEXPIRE', ids, floor(ttl * 1.01))
  call('PEXPIRE', head, floor(head_ttl * 1.01))
end

local numbers, count = {}, 0
local news, size

local function append(user, log, head, ids, first, entries)
  local seq, digest, since = head_of(log, head, ids)
  local scores = try('ZMSCORE', ids, unpack(ARGV, first, first + entries - 1))
  if scores.err then
    forget(ids)
    since = 0
  end
  local before, repaired, seen, members, m = seq, repairs, {}, {}, 0
  for i = 0, entries - 1 do
    local key = ARGV[first + i]
    local known = scores[i + 1] or seen[key]
    count = count + 1
    if known then
      numbers[count] = -known
    else
      local previous
      seq, digest, previous = add(log, seq, digest, key, ARGV[first + entries + i])
      numbers[count] = seq
      seen[key] = seq
      members[m + 1], members[m + 2] = seq, key
      m = m + 2
      news[size + 1], news[size + 2], news[size + 3] = user, seq, previous
      news[size + 4], news[size + 5] = digest, ARGV[first + entries + i]
      size = size + 5
    end
  end
  if m == 0 then
    return
  end
  call('ZADD', ids, unpack(members))
  if floor(seq / trim_every) ~= floor(before / trim_every) then
    call('ZREMRANGEBYRANK', ids, 0, -window - 1)
  end
  if since > 0 and repaired == repairs then
    call('HSET', head, 's', seq, 'd', digest)
  else
    call('HSET', head, 's', seq, 'd', digest, 'e', now)
    set_expirations(log, head, ids)
  end
end

local at, k = 9, 1
for _ = 1, slots do
  local channel, users = ARGV[at], tonumber(ARGV[at + 1])
  at = at + 2
  news, size = {}, 0
  for _ = 1, users do
    local entries = tonumber(ARGV[at + 1])
    append(ARGV[at], KEYS[k + 1], KEYS[k + 2], KEYS[k + 3], at + 2, entries)
    at = at + 2 + 2 * entries
    k = k + 3
  end
  if size > 0 then
    call(publish, channel, cmsgpack.pack(news))
  end
end
numbers[count + 1] = repairs
return numbers
