-- Deletes a text that is nothing of ours.
--
-- KEYS  user
-- ARGV  the text: another one stays

if redis.pcall('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
