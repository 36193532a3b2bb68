-- Put held messages back where they came from, to be taken next; nobody is blamed.
-- KEYS: unacked, leases, started, returned. ARGV: tags. -> how many
redis.call('HDEL', KEYS[1], '') -- lets the writes below pass where memory is full
local count = 0
for _, tag in ipairs(ARGV) do
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
  end
end
return count
