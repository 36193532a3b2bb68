-- Put held messages back, at once or after a pause; nobody is blamed.
-- The pause is for tasks that this worker does not know: for a worker that does. It is as long as the
-- time since the first of these, at least 1 s, and ends after ARGV[3] seconds of trying. Until then
-- they are held under a lease of their own, which nobody renews.
-- KEYS: unacked, started, suspects, leases, unknown ids. ARGV: a number of bytes: what reaches it is
-- the last message for now; the id of an unknown task ('' to put back at once), seconds; what the
-- keys of unacknowledged messages begin with, and those of tenants; tags.
-- -> how many were put back, how many of the tags were looked at (0: tried for long enough)
local unacked, started, leases, unknown = KEYS[1], KEYS[2], KEYS[4], KEYS[5]
redis.call('HDEL', unacked, '') -- lets the writes below pass where memory is full
local left, id, patience, parked = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), nil
if id ~= '' then
  local time = redis.call('TIME')
  local now = time[1] + time[2] / 1000000
  redis.call('ZREMRANGEBYSCORE', unknown, '-inf', now - 100 * patience)
  redis.call('ZADD', unknown, 'NX', string.format('%.6f', now), id)
  local waited = now - redis.call('ZSCORE', unknown, id)
  if waited >= patience then
    redis.call('ZREM', unknown, id)
    return {0, 0}
  elseif waited < 0 then -- the clock was set back
    redis.call('ZADD', unknown, string.format('%.6f', now), id)
  end
  local ends = math.ceil(now + math.max(1, waited))
  parked = 'parked:' .. ends
  redis.call('ZADD', leases, ends, parked)
end

local count, looked = 0, 0
while left > 0 and looked < #ARGV - 5 do
  looked = looked + 1
  local tag = ARGV[looked + 5]
  local entry = redis.call('HGET', unacked, tag)
  if entry then
    if parked then
      redis.call('HSET', ARGV[4] .. parked, tag, entry)
    else
      requeue(ARGV[5], KEYS[3], entry)
    end
    redis.call('HDEL', unacked, tag)
    redis.call('HDEL', started, tag)
    count = count + 1
    left = left - #entry
  end
end
return {count, looked}
