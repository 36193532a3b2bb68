-- Put held messages back where they came from, to be taken next; nobody is blamed.
-- KEYS: unacked, leases, started, returned. ARGV: a number of bytes, tags. What reaches that number is
-- the last one for now. -> how many went back, how many of the tags were looked at
redis.call('HDEL', KEYS[1], '') -- lets the writes below pass where memory is full
local count, left, looked = 0, tonumber(ARGV[1]), 0
while left > 0 and looked < #ARGV - 1 do
  looked = looked + 1
  local tag = ARGV[looked + 1]
  local entry = redis.call('HGET', KEYS[1], tag)
  if entry then
    local source, crashes, rest = string.match(entry, '^([^\n]*)\n(%d+)\n(.*)$')
    if crashes == '0' then
      redis.call('RPUSH', source, rest)
    else
      redis.call('RPUSH', KEYS[4], entry)
    end
    redis.call('HDEL', KEYS[1], tag)
    redis.call('ZREM', KEYS[2], tag)
    redis.call('HDEL', KEYS[3], tag)
    count = count + 1
    left = left - #entry
  end
end
return {count, looked}
