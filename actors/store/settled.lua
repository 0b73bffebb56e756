-- Whether what is in this server may be judged: part of every script that tells what is in a log, or is not.
--
-- No consumer may have looked yet at a server that was exchanged, restarted or flushed; and what it has lost may
-- still be on its way back from Kafka. What is there then is right, but what is not there may be there soon.

local function is_settled(stamp, rebuilding)
  local servers = redis.pcall('HGET', stamp, 'servers') -- as advance.lua has left them
  local id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  return type(servers) == 'string' and id and string.find(servers, id, 1, true)
    and redis.call('EXISTS', rebuilding) == 0
end

