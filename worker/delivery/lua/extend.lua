-- Set when the leases of held messages end: ARGV[1] seconds from now.
-- KEYS: leases. ARGV[2]…: tags. -> those of the tags that are no longer held
redis.call('ZREM', KEYS[1], '') -- lets the writes below pass where memory is full
local now = redis.call('TIME')
local expiry = string.format('%.6f', now[1] + now[2] / 1000000 + tonumber(ARGV[1]))
local gone = {}
for i = 2, #ARGV do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) then
    redis.call('ZADD', KEYS[1], 'XX', expiry, ARGV[i])
  else
    gone[#gone + 1] = ARGV[i]
  end
end
return gone
