"""The Lua script that pushes messages where a plain `LPUSH` does not do."""

from __future__ import annotations

from clip_worker.redis.tenants import PUT

# Pushes messages in order, up to the queue's limit, and none whose id was sent before.
# A task becomes a user of its uploads, in place of the claim that kept them for it until now. An
# upload of a task that was sent before is deleted unless it has another user.
# A tenant's messages go to the tenant's own list, from which the workers take in turns.
# KEYS: the queue's four lists; then for each message its marker ('' for none), or nothing at all.
# ARGV: index of the list to push to; maximum queue length ('' for none); how many messages must fit
# for any to be pushed, those sent before not counted; seconds that markers are kept; the tenant (''
# for none); what the keys of tenants begin with; then for each message the message and its uploads:
# '' for none, or JSON, [key, task's id, claim, key, ...].
# -> how many were pushed or had been sent before, how many are waiting
PUSH_SCRIPT = (
    PUT
    + """
local tenant, base = ARGV[5], ARGV[6]
local room, waiting = math.huge, 0
if ARGV[2] ~= '' then
  for i = 1, 4 do waiting = waiting + redis.call('LLEN', KEYS[i]) end
  waiting = waiting + (redis.call('ZSCORE', base .. 's-waiting', '*') or 0)
  room = tonumber(ARGV[2]) - waiting
end
local function was_sent(i)
  local marker = KEYS[4 + i] or ''
  return marker ~= '' and redis.call('EXISTS', marker) == 1
end
local function use(uploads, is_fresh)
  for i = 1, #uploads, 3 do
    local key, user, claim = unpack(uploads, i, i + 2)
    local users, left = key .. ':users', redis.call('PTTL', key)
    if is_fresh and left ~= -2 then
      redis.call('SADD', users, user)
      if left > 0 then redis.call('PEXPIRE', users, left) end
    end
    if redis.call('SREM', users, claim) == 1 and redis.call('EXISTS', users) == 0 then
      redis.call('DEL', key)
    end
  end
end
local count, needed = (#ARGV - 6) / 2, tonumber(ARGV[3])
for i = 1, count do
  if was_sent(i) then needed = needed - 1 end
end
if room < needed then return {0, waiting} end
local done, fresh = 0, {}
for i = 1, count do
  local is_fresh, uploads = not was_sent(i), ARGV[6 + 2 * i]
  if is_fresh then
    if #fresh >= room then break end
    fresh[#fresh + 1] = ARGV[5 + 2 * i]
    local marker = KEYS[4 + i] or ''
    if marker ~= '' then redis.call('SET', marker, 1, 'EX', ARGV[4]) end
  end
  if uploads ~= '' then use(cjson.decode(uploads), is_fresh) end
  done = i
end
local index = tonumber(ARGV[1])
if #fresh > 0 and tenant ~= '' then
  put(base, tenant, STEPS[index], 'LPUSH', fresh)
elseif #fresh > 0 then
  redis.call('LPUSH', KEYS[index], unpack(fresh))
end
return {done, waiting + #fresh}
"""
)
