-- Store results and acknowledge their messages: both or neither. With a dead letter, file that too.
-- A tag that is no longer held was given to another worker: its result is not stored. Nor is a
-- failure stored over a success, as with Celery: then the message had been sent twice.
-- What a task used in Redis (an upload) is deleted with its last user: the set `<key>:users` has them.
-- What is to be posted to a task's webhook is due at once.
-- KEYS: unacked, started, dead letters, their index, webhooks, their posts. ARGV: the dead letter's id
-- ('' for none), the letter, Unix time; then for each message its tag, the result's key ('' for none),
-- the result, for how many seconds it is kept, what the task used: '' for nothing, or JSON, [key,
-- user, key, …], the id of its webhook's post ('' for none) and the post.
-- -> 1 or 0 for each message: held or not
local unacked, started = KEYS[1], KEYS[2]
redis.call('HDEL', unacked, '') -- lets the writes below pass where memory is full
local held, done, uses = {}, {}, {}

local function is_success(result)
  return string.find(result or '', '{"status": "SUCCESS"', 1, true) == 1
end

local function post(id, text)
  local time = redis.call('TIME')
  redis.call('HSET', KEYS[6], id, text)
  redis.call('ZADD', KEYS[5], string.format('%.6f', time[1] + time[2] / 1000000), id)
end

for i = 4, #ARGV, 7 do
  local tag, key, result, seconds, used, post_id, text = unpack(ARGV, i, i + 6)
  local is_held = redis.call('HEXISTS', unacked, tag)
  if is_held == 1 then
    done[#done + 1] = tag
    uses[#uses + 1] = used
    if ARGV[1] ~= '' then
      redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
      redis.call('ZADD', KEYS[4], ARGV[3], ARGV[1])
    end
    if key == '' or is_success(result) or not is_success(redis.call('GET', key)) then
      if key ~= '' then
        redis.call('SET', key, result, 'EX', seconds)
        redis.call('PUBLISH', key, result)
      end
      if post_id ~= '' then
        post(post_id, text)
      end
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
for _, used in ipairs(uses) do
  local pairs_ = used ~= '' and cjson.decode(used) or {}
  for i = 1, #pairs_, 2 do
    local users = pairs_[i] .. ':users'
    if redis.call('SREM', users, pairs_[i + 1]) == 1 and redis.call('EXISTS', users) == 0 then
      redis.call('DEL', pairs_[i])
    end
  end
end
return held
