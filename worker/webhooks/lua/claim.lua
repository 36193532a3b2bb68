-- Claim the post that has been due for longest: it is due again when the claim lapses, so a worker's
-- death only delays it.
-- KEYS: webhooks, their posts. ARGV: seconds that the claim lasts. -> id, post, 1 if more are due;
-- nil if none is
redis.call('HDEL', KEYS[2], '') -- lets the writes below pass where memory is full
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.6f', now), 'LIMIT', 0, 2)
for i, id in ipairs(due) do
  local post = redis.call('HGET', KEYS[2], id)
  if post then
    redis.call('ZADD', KEYS[1], string.format('%.6f', now + ARGV[1]), id)
    return {id, post, #due - i}
  end
  redis.call('ZREM', KEYS[1], id) -- somebody else has deleted its post
end
return false
