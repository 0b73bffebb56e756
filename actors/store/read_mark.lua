-- How far a user has read: part of every script that tells or moves it.
--
-- It is a field of the head (r), and goes with it: the mark of one log is never another's.

-- The number up to which he has read, in a log whose head has the number `seq`; 0: nothing, or nothing of ours.
local function read_mark(head, seq)
  local mark = number_in(redis.call('HGET', head, 'r'))
  return mark and mark <= seq and mark or 0
end

