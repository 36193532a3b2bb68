-- Return the messages whose lease has run out. One that had been started gets a line in its history
-- and goes apart; one that only waited, or was parked, goes back to the head of its queue.
-- After a time in which no worker could look (Redis was away, or its clock was set forward) no worker
-- could renew either: then nothing is returned, and every lease lasts as long again, for its worker
-- to renew it. Where Redis's clock was set back, the leases from before would last longer by as much:
-- each gets what it had left when a worker last looked, and no less than that time.
-- KEYS: unacked, leases, started, returned, tick. ARGV: that time in seconds, most entries.
-- -> returned but for parked ones, of these begun
local unacked, leases, started, returned, tick = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
redis.call('HDEL', unacked, '') -- lets the writes below pass where memory is full
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local fresh = now + tonumber(ARGV[1])
local last = tonumber(redis.call('GET', tick) or 0)
redis.call('SET', tick, string.format('%.6f', now))

if last > now then
  for _, tag in ipairs(redis.call('ZRANGEBYSCORE', leases, last, '+inf')) do
    local left = redis.call('ZSCORE', leases, tag) - last
    redis.call('ZADD', leases, 'XX', string.format('%.6f', math.max(now + left, fresh)), tag)
  end
  return {0, 0}
elseif now - last > tonumber(ARGV[1]) then
  for _, tag in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', fresh)) do
    redis.call('ZADD', leases, 'XX', string.format('%.6f', fresh), tag)
  end
  return {0, 0}
end

local count, blamed = 0, 0
local due = redis.call(
  'ZRANGEBYSCORE', leases, '-inf', string.format('%.6f', now), 'LIMIT', 0, ARGV[2]
)
for _, tag in ipairs(due) do
  local entry = redis.call('HGET', unacked, tag)
  if entry then
    local line = redis.call('HGET', started, tag)
    local source, crashes, rest = string.match(entry, '^([^\n]*)\n(%d+)\n(.*)$')
    if line == 'parked' then
      redis.call('RPUSH', source, rest)
    elseif line then
      local blame = source .. '\n' .. (crashes + 1) .. '\n' .. line .. '\n' .. rest
      redis.call('LPUSH', returned, blame)
      blamed = blamed + 1
    elseif crashes == '0' then
      redis.call('RPUSH', source, rest)
    else
      redis.call('LPUSH', returned, entry)
    end
    count = count + (line == 'parked' and 0 or 1)
  end
  redis.call('HDEL', unacked, tag)
  redis.call('ZREM', leases, tag)
  redis.call('HDEL', started, tag)
end
return {count, blamed}
