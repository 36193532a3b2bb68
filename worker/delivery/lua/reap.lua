-- Return the messages whose lease has run out. One that had been started gets a line in its history
-- and goes apart; one that only waited, or was parked, goes back to the head of its queue.
-- After a time in which no worker could look (Redis was away, or its clock was set forward) no worker
-- could renew either: then nothing is returned, and every lease lasts as long again, for its worker
-- to renew it. Where Redis's clock was set back by more than that, the leases from before would last
-- longer by as much: each gets what it had left when a worker last looked, and no less than that time.
-- It is `most` leases a call: until all have been moved the time of the last look stays, with the time
-- behind it that they are moved to.
-- KEYS: unacked, leases, started, returned, tick. ARGV: that time in seconds, most entries, a number of
-- bytes, which ends the returning too.
-- -> returned but for parked ones, of these begun, 1 if there is more to be done at once
local unacked, leases, started, returned, tick = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
redis.call('HDEL', unacked, '') -- lets the writes below pass where memory is full
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local gap, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local last, fresh = string.match(redis.call('GET', tick) or '0', '^(%S+) ?(%S*)$')
local moved

if last - now > gap then
  moved = redis.call('ZREVRANGEBYSCORE', leases, '+inf', last, 'LIMIT', 0, most)
  for _, tag in ipairs(moved) do
    local left = redis.call('ZSCORE', leases, tag) - last
    redis.call('ZADD', leases, 'XX', string.format('%.6f', now + math.max(left, gap)), tag)
  end
elseif now - last > gap then
  if fresh == '' or tonumber(fresh) < now then
    fresh = string.format('%.6f', now + gap)
  end
  moved = redis.call('ZRANGEBYSCORE', leases, '-inf', '(' .. fresh, 'LIMIT', 0, most)
  for _, tag in ipairs(moved) do
    redis.call('ZADD', leases, 'XX', fresh, tag)
  end
end
if moved and #moved == most then
  redis.call('SET', tick, last .. ' ' .. fresh)
  return {0, 0, 1}
end
redis.call('SET', tick, string.format('%.6f', now))
if moved then
  return {0, 0, 0}
end

local count, blamed, left = 0, 0, tonumber(ARGV[3])
local due = redis.call(
  'ZRANGEBYSCORE', leases, '-inf', string.format('%.6f', now), 'LIMIT', 0, most
)
for _, tag in ipairs(due) do
  if left <= 0 then
    break
  end
  local entry = redis.call('HGET', unacked, tag)
  if entry then
    left = left - #entry
    local line = redis.call('HGET', started, tag)
    local source, crashes, rest = string.match(entry, '^([^\n]*)\n(%d+)\n(.*)$')
    if line == 'parked' then
      redis.call('RPUSH', crashes == '0' and source or returned, crashes == '0' and rest or entry)
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
return {count, blamed, 0}
