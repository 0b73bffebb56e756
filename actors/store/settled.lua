-- Whether what is in this server may be judged: part of every script that tells what is in a log, or is not.
--
-- No consumer may have looked yet at a server that was exchanged, restarted or flushed; and what it has lost may
-- still be on its way back from Kafka. What is there then is right, but what is not there may be there soon.
--
-- All that is needed is in the stamp: a key more, which is mostly missing, would have a Cluster refuse every call
-- about a slot that it is just moving.

local function is_settled(stamp)
  -- as advance.lua and rebuild.lua have left them
  local is = redis.pcall('HMGET', stamp, 'servers', 'rebuilding_until')
  local id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  return is[1] and id and string.find(is[1], id, 1, true)
    and (tonumber(is[2]) or 0) < tonumber(redis.call('TIME')[1])
end

