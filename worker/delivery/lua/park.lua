-- Let held messages go back ARGV[1] seconds from now, with nobody to blame and nothing to log.
-- KEYS: unacked, leases, started. ARGV[2]…: tags.
redis.call('HDEL', KEYS[1], '') -- lets the writes below pass where memory is full
local now = redis.call('TIME')
local expiry = string.format('%.6f', now[1] + now[2] / 1000000 + tonumber(ARGV[1]))
for i = 2, #ARGV do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
    redis.call('ZADD', KEYS[2], 'XX', expiry, ARGV[i])
    redis.call('HSET', KEYS[3], ARGV[i], 'parked')
  end
end
