-- Move up to ARGV[1] messages from the queue, and up to ARGV[2] from what crashes returned, into the
-- unacknowledged set, under a lease of ARGV[3] seconds. The message is never in neither place.
-- An entry is: the list that it came from, the number of crashes, a line for each, the message.
-- KEYS: unacked, leases, returned, the queue's lists. ARGV[4]: prefix of the tags. -> tag, entry, …
local unacked, leases, returned = KEYS[1], KEYS[2], KEYS[3]
local now = redis.call('TIME')
local expiry = string.format('%.6f', now[1] + now[2] / 1000000 + tonumber(ARGV[3]))
local taken = {}

local function hold(entry)
  local tag = ARGV[4] .. (#taken / 2)
  redis.call('HSET', unacked, tag, entry)
  redis.call('ZADD', leases, expiry, tag)
  taken[#taken + 1] = tag
  taken[#taken + 1] = entry
end

local suspects = tonumber(ARGV[2])
if suspects > 0 then
  for _, entry in ipairs(redis.call('RPOP', returned, suspects) or {}) do
    hold(entry)
  end
end

local room = tonumber(ARGV[1])
for i = 4, #KEYS do
  if room <= 0 then
    break
  end
  local popped = redis.call('RPOP', KEYS[i], room) or {}
  room = room - #popped
  for _, message in ipairs(popped) do
    hold(KEYS[i] .. '\n0\n' .. message)
  end
end
return taken
