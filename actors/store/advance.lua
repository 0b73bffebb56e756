-- Writes checkpoints of a consumer group, but only on a server that is known and has lost nothing.
--
-- KEYS     the checkpoints, the stamp
-- ARGV     the run ids of the known servers, in one text; the canary: its field, what it is, and what it is
--          if this was done before and the answer got lost; then fields and what they are to be
--
-- All in one script, because a checkpoint on a server that was exchanged a moment ago would hide what that has lost.

local info = redis.call('INFO', 'server')
local id = string.match(info, 'run_id:(%w+)')
if not id or not string.find(ARGV[1], id, 1, true) then
  return redis.error_reply('DSLOST this server was restarted or exchanged')
end
local canary = redis.pcall('HGET', KEYS[1], ARGV[2])
if canary ~= ARGV[3] and canary ~= ARGV[4] then
  return redis.error_reply('DSLOST the canary of ' .. KEYS[1] .. ' is gone')
end
for i = 5, #ARGV, 1000 do -- Lua can't unpack thousands at once
  redis.call('HSET', KEYS[1], unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
redis.call('HSET', KEYS[2], 'servers', ARGV[1]) -- see settled.lua
return 1
