-- Note, for each tag that is still held, the line that its history gets if the worker dies now.
-- KEYS: unacked, started. ARGV: line, tags. -> 1 or 0 for each tag: held or not
redis.call('HDEL', KEYS[1], '') -- lets the writes below pass where memory is full
local held = {}
for i = 2, #ARGV do
  held[i - 1] = redis.call('HEXISTS', KEYS[1], ARGV[i])
  if held[i - 1] == 1 then
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[1])
  end
end
return held
