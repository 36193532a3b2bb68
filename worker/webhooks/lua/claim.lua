-- Claim the post that has been due for longest: it is due again when the claim lapses, so a worker's
-- death only delays it.
-- KEYS: webhooks, their posts. ARGV: seconds that the claim lasts. -> id, post, 1 if more are due;
-- nil if none is
redis.call('HDEL', KEYS[2], '') -- lets the writes below pass where memory is full
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.6f', now), 'LIMIT', 0, 2)
if #due == 0 then
  return false
end
redis.call('ZADD', KEYS[1], string.format('%.6f', now + ARGV[1]), due[1])
return {due[1], redis.call('HGET', KEYS[2], due[1]) or '', #due - 1}
