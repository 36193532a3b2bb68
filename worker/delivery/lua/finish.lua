-- Store results and take their messages out of the unacknowledged set: done or not done, never half.
-- A tag that is no longer held was given to somebody else: its result is theirs to store.
-- KEYS: unacked, leases, started. ARGV: seconds that results are kept, then for each message its
-- tag, the result's key ('' for none) and the result. -> 1 or 0 for each message: held or not.
redis.call('HDEL', KEYS[1], '') -- lets the writes below pass where memory is full
local held = {}
for i = 2, #ARGV, 3 do
  local tag, key, result = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local is_held = redis.call('HEXISTS', KEYS[1], tag)
  if is_held == 1 then
    -- First what access rights may forbid: then nothing has been done yet.
    if key ~= '' then
      redis.call('SET', key, result, 'EX', ARGV[1])
      redis.call('PUBLISH', key, result)
    end
    redis.call('HDEL', KEYS[1], tag)
    redis.call('ZREM', KEYS[2], tag)
    redis.call('HDEL', KEYS[3], tag)
  elseif key ~= '' and redis.call('GET', key) == result then
    is_held = 1 -- then, the first time: this is the same once more, for its reply was lost
  end
  held[#held + 1] = is_held
end
return held
