-- Set when the leases of held messages end: ARGV[1] seconds from now.
-- KEYS: leases. ARGV[2]…: tags.
redis.call('ZREM', KEYS[1], '') -- lets the writes below pass where memory is full
local now = redis.call('TIME')
local expiry = string.format('%.6f', now[1] + now[2] / 1000000 + tonumber(ARGV[1]))
for i = 2, #ARGV do
  redis.call('ZADD', KEYS[1], 'XX', expiry, ARGV[i])
end
return expiry
