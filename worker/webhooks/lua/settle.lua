-- End an attempt at a post: it is due again later, or removed, with a dead letter or without one.
-- What another worker has removed meanwhile stays removed.
-- KEYS: webhooks, their posts, dead letters, their index. ARGV: id; the post as it is tried again ('' to
-- remove it) and in how many seconds; the dead letter ('' for none) and its Unix time. -> 1, or 0 if it
-- was removed
local webhooks, posts, id = KEYS[1], KEYS[2], ARGV[1]
redis.call('HDEL', posts, '') -- lets the writes below pass where memory is full
if redis.call('HEXISTS', posts, id) == 0 then
  redis.call('ZREM', webhooks, id)
  return 0
end
if ARGV[2] ~= '' then
  local time = redis.call('TIME')
  local due = time[1] + time[2] / 1000000 + ARGV[3]
  redis.call('HSET', posts, id, ARGV[2])
  redis.call('ZADD', webhooks, string.format('%.6f', due), id)
  return 1
end
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[3], id, ARGV[4])
  redis.call('ZADD', KEYS[4], ARGV[5], id)
end
redis.call('HDEL', posts, id)
redis.call('ZREM', webhooks, id)
return 1
