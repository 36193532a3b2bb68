-- Note, for each tag that is still held, the line that its history gets if the worker dies now.
-- KEYS: leases, unacked, started. ARGV: the lease's name, line, tags. -> 1 or 0 for each tag
local leases, unacked, started = KEYS[1], KEYS[2], KEYS[3]
redis.call('HDEL', unacked, '') -- lets the writes below pass where memory is full
local is_ours = tonumber(redis.call('ZSCORE', leases, ARGV[1]) or 0) > 0
local held, lines = {}, {}
for i = 3, #ARGV do
  held[i - 2] = is_ours and redis.call('HEXISTS', unacked, ARGV[i]) or 0
  if held[i - 2] == 1 then
    lines[#lines + 1] = ARGV[i]
    lines[#lines + 1] = ARGV[2]
  end
end
if #lines > 0 then
  redis.call('HSET', started, unpack(lines))
end
return held
