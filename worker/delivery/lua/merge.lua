-- For workers on kombu's transport, which take from the queue's own lists only: move messages of
-- tenants there, one of each in turn, the most urgent of its own, while few wait there.
-- KEYS: the queue's lists. ARGV: what the keys of tenants begin with, how many messages may wait.
-- -> how many were moved
local base, room, moved = ARGV[1], tonumber(ARGV[2]), 0
local turns, arrived, waiting = base .. 's', base .. 's-arrived', base .. 's-waiting'
redis.call('ZREM', waiting, '?') -- lets the writes below pass where memory is full
for _, list in ipairs(KEYS) do
  room = room - redis.call('LLEN', list)
end

-- One message of a tenant, if it has any; whether it had.
local function move(lists)
  for i, list in ipairs(lists) do
    local popped = redis.call('RPOP', list)
    if popped then
      redis.call('LPUSH', KEYS[i], popped)
      return true
    end
  end
  return false
end

while moved < room do
  local tenant = redis.call('RPOP', arrived) or redis.call('RPOP', turns)
  if not tenant then
    break
  end
  local lists = {}
  for i, step in ipairs(STEPS) do
    lists[i] = base .. ':' .. step .. ':' .. tenant
  end
  if move(lists) then
    moved = moved + 1
    redis.call('ZINCRBY', waiting, -1, tenant)
    redis.call('ZINCRBY', waiting, -1, '*')
  end
  if redis.call('EXISTS', unpack(lists)) > 0 then
    redis.call('LPUSH', turns, tenant)
  else
    redis.call('ZREM', waiting, tenant)
  end
end
if redis.call('EXISTS', turns, arrived) == 0 then
  redis.call('DEL', waiting)
end
return moved
