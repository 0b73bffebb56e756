-- Whether a Redis has lost writes: part of every script that must not put later events before those it has lost.
--
-- A canary is a field of a consumer group's checkpoints that only grows; `least` is what it was when it was written.

-- An error reply where it is less; nil where all is well, or `field` is empty.
local function lost(checkpoints, field, least)
  if field ~= '' and (tonumber(redis.pcall('HGET', checkpoints, field)) or -1) < tonumber(least) then
    return redis.error_reply('DSLOST the canary of ' .. checkpoints .. ' is gone')
  end
end

