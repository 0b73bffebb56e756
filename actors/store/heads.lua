-- Reads the heads of users.
--
-- KEYS  stamp, heads
-- Returns for each head its number and digest; 0 and the stamp's id for a user without one; without a stamp {}.

local id = read_id(KEYS[1])
local heads = {}
for i = 2, id and #KEYS or 1 do
  local seq, digest = read_head(KEYS[i])
  heads[#heads + 1] = seq or 0
  heads[#heads + 1] = digest or id
end
return heads
