-- File a dead letter, store the failure for its caller, and let go of the message.
-- KEYS: unacked, leases, started, dead, index of the dead. ARGV: tag, id, dead letter, Unix time,
-- the result's key ('' for none), the result, seconds that it is kept. -> 1 or 0: held or not
local tag = ARGV[1]
if redis.call('HEXISTS', KEYS[1], tag) == 0 then
  return 0
end
redis.call('HDEL', KEYS[1], '') -- lets the writes below pass where memory is full
redis.call('HSET', KEYS[4], ARGV[2], ARGV[3])
redis.call('ZADD', KEYS[5], ARGV[4], ARGV[2])
if ARGV[5] ~= '' then
  redis.call('SET', ARGV[5], ARGV[6], 'EX', ARGV[7])
  redis.call('PUBLISH', ARGV[5], ARGV[6])
end
redis.call('HDEL', KEYS[1], tag)
redis.call('ZREM', KEYS[2], tag)
redis.call('HDEL', KEYS[3], tag)
return 1
