-- Renew a worker's lease, then reclaim the messages of leases that have lapsed.
-- What had been started gets a line in its history and joins the suspects; what had only waited, or
-- was parked, goes back to the head of its queue.
-- After a time in which no worker could look (Redis was away, or its clock was set forward) no worker
-- could renew either: then nothing is reclaimed, and every lease lasts as long again, for its worker
-- to renew it. Where Redis's clock was set back by more than that, the leases from before would last
-- longer by as much: each gets what it had left when a worker last looked, and no less than that time.
-- KEYS: leases, time of the last look, webhooks, suspects, then all other lists to take from. ARGV: the lease's
-- name, for how many seconds it is renewed; that time in seconds; most entries, and a number of bytes
-- that ends the reclaiming too; what the keys of unacknowledged messages begin with, those of started
-- ones, and those of tenants.
-- -> 1 if the lease is ours; messages reclaimed from workers, of these started; 1 if there is more to
-- reclaim at once; how many of the lists hold something; seconds since the last look; how many posts
-- to webhooks are due
local leases, tick, suspects = KEYS[1], KEYS[2], KEYS[4]
redis.call('ZREM', leases, '') -- lets the writes below pass where memory is full
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local gap, most, left = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

local function set_end(lease, seconds)
  redis.call('ZADD', leases, string.format('%.6f', now + seconds), lease)
end

-- A lease that lapsed has an end of 0 while its messages are reclaimed: it can't be renewed.
local is_ours = tonumber(redis.call('ZSCORE', leases, ARGV[1]) or 0) > 0
if is_ours and tonumber(ARGV[2]) > 0 then
  set_end(ARGV[1], ARGV[2])
elseif is_ours then
  redis.call('ZADD', leases, 0, ARGV[1])
end

local last = tonumber(redis.call('GET', tick) or 0)
redis.call('SET', tick, string.format('%.6f', now))
if last - now > gap then
  local found = redis.call('ZRANGEBYSCORE', leases, last, '+inf', 'WITHSCORES')
  for i = 1, #found, 2 do
    set_end(found[i], math.max(found[i + 1] - last, gap))
  end
elseif now - last > gap then
  for _, lease in ipairs(redis.call('ZRANGEBYSCORE', leases, '(0', '(' .. now + gap)) do
    set_end(lease, gap)
  end
end

local count, blamed = 0, 0
local function reclaim(lease)
  local unacked, started = ARGV[6] .. lease, ARGV[7] .. lease
  local is_parked = string.find(lease, 'parked:', 1, true) == 1
  redis.call('ZADD', leases, 0, lease)
  for _, tag in ipairs(redis.call('HRANDFIELD', unacked, most)) do
    local entry, line = redis.call('HGET', unacked, tag), redis.call('HGET', started, tag)
    requeue(ARGV[8], suspects, entry, line)
    redis.call('HDEL', unacked, tag)
    most = most - 1
    left = left - #entry
    if not is_parked then
      count = count + 1
      blamed = blamed + (line and 1 or 0)
    end
    if left <= 0 then
      break
    end
  end
  if redis.call('EXISTS', unacked) == 0 then
    redis.call('DEL', started)
    redis.call('ZREM', leases, lease)
  end
end

local due = redis.call('ZRANGEBYSCORE', leases, '-inf', string.format('%.6f', now), 'LIMIT', 0, most)
for _, lease in ipairs(due) do
  if most > 0 and left > 0 then
    reclaim(lease)
  end
end
local is_more = redis.call('ZSCORE', leases, due[#due] or '') and 1 or 0
local waiting = redis.call('EXISTS', unpack(KEYS, 4))
local posts = redis.call('ZCOUNT', KEYS[3], '-inf', string.format('%.6f', now))
return {is_ours and 1 or 0, count, blamed, is_more, waiting, string.format('%.6f', now - last), posts}
