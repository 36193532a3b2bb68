-- Store results and acknowledge their messages: both or neither. With a dead letter, file that too.
-- A tag that is no longer held was given to another worker: its result is not stored.
-- KEYS: unacked, started, dead letters, their index. ARGV: seconds that results are kept; the dead
-- letter's id ('' for none), the letter, Unix time; then for each message its tag, the result's key
-- ('' for none) and the result. -> 1 or 0 for each message: held or not
local unacked, started = KEYS[1], KEYS[2]
redis.call('HDEL', unacked, '') -- lets the writes below pass where memory is full
local held, done = {}, {}
for i = 5, #ARGV, 3 do
  local tag, key, result = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local is_held = redis.call('HEXISTS', unacked, tag)
  if is_held == 1 then
    done[#done + 1] = tag
    if ARGV[2] ~= '' then
      redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
      redis.call('ZADD', KEYS[4], ARGV[4], ARGV[2])
    end
    if key ~= '' then
      redis.call('SET', key, result, 'EX', ARGV[1])
      redis.call('PUBLISH', key, result)
    end
  elseif key ~= '' and redis.call('GET', key) == result then
    is_held = 1 -- it was, the first time: this is sent again, for its reply was lost
  end
  held[#held + 1] = is_held
end
-- Last, so that nothing is lost where access rights forbid one of the above.
if #done > 0 then
  redis.call('HDEL', unacked, unpack(done))
  redis.call('HDEL', started, unpack(done))
end
return held
