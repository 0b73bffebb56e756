-- Reads the heads of users.
--
-- KEYS  stamp, heads
-- Returns for each head its number and digest; 0 and the stamp's id for a user without one; {} where the server is
-- not settled (settled.lua).

local id = read_id(KEYS[1])
if not id or not is_settled(KEYS[1]) then
  return {}
end
local heads = {}
for i = 2, #KEYS do
  local seq, digest = read_head(KEYS[i])
  heads[#heads + 1] = seq or 0
  heads[#heads + 1] = digest or id
end
return heads
