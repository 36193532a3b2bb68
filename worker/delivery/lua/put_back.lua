-- Let held messages of a task that this worker does not know go back after a pause, for a worker that
-- does; nobody is blamed. The pause is as long as the time since the first of these, at least 1 s.
-- KEYS: unacked, leases, started, unknown. ARGV: id, seconds after the first time until which it goes
-- back, tags. -> 1 or 0: goes back or not
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local id, patience = ARGV[1], tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now - 100 * patience)
redis.call('ZADD', KEYS[4], 'NX', string.format('%.6f', now), id)
local waited = now - redis.call('ZSCORE', KEYS[4], id)
if waited >= patience then
  redis.call('ZREM', KEYS[4], id)
  return 0
end
if waited < 0 then -- the clock was set back
  redis.call('ZADD', KEYS[4], string.format('%.6f', now), id)
end
local expiry = string.format('%.6f', now + math.max(1, waited))
for i = 3, #ARGV do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
    redis.call('ZADD', KEYS[2], 'XX', expiry, ARGV[i])
    redis.call('HSET', KEYS[3], ARGV[i], 'parked')
  end
end
return 1
