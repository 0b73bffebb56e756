-- How heads and stamps are read: the beginning of every script that needs them.
--
-- A head is a hash: number, digest, and when expirations were set (s, d, e; the latter in ms of this server's
-- clock). What is not of its form, or a number that Lua could not write exactly, is nothing of ours.

local DIGEST = string.rep('[0-9a-f]', 16)

-- The number in a text; nil if it is none of ours.
local function number_in(text)
  local number = tonumber(text)
  return number and number >= 0 and number < 1e14 and number % 1 == 0 and number or nil
end

-- A user's number, digest, and when his expirations were set; nil without a head.
local function read_head(key)
  local is = redis.pcall('HMGET', key, 's', 'd', 'e')
  local seq, digest = number_in(is[1]), is[2]
  if not seq or not digest or #digest ~= 16 or string.find(digest, '[^0-9a-f]') then
    return nil
  end
  return seq, digest, tonumber(is[3]) or 0
end

-- The id of the store, the digest before the first entry of every log; nil without a stamp.
local function read_id(stamp)
  local id = redis.pcall('HGET', stamp, 'id')
  return type(id) == 'string' and id or nil
end

