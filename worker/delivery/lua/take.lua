-- Move up to ARGV[1] messages from the queue, and up to ARGV[2] from what crashes returned, into the
-- unacknowledged set, under a lease of ARGV[3] seconds. The message is never in neither place.
-- An entry is: the list that it came from, the number of crashes, a line for each, the message.
-- ARGV[4] begins the tags and names this take: the client sends it again if the reply was lost, and
-- then gets what it took the first time.
-- ARGV[5] is the Unix time after which nobody waits for the reply ('' if that is not known): what the
-- network held back until then takes nothing, or it would lie there until its lease runs out.
-- ARGV[6] is a number of bytes: what reaches it is the last message that is taken.
-- KEYS: unacked, leases, returned, then for each of the queue's lists what arrived from it for an idle
-- worker, and the list itself. -> Unix time, then tag, entry, …
local unacked, leases, returned, name = KEYS[1], KEYS[2], KEYS[3], ARGV[4]
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local expiry = string.format('%.6f', now + tonumber(ARGV[3]))
local taken = {string.format('%.6f', now)}
local given = 0

local function give(tag, entry)
  given = given + 1
  taken[#taken + 1] = tag
  taken[#taken + 1] = entry
end

local again = redis.call('HGET', unacked, name .. '0')
while again do
  give(name .. given, again)
  again = redis.call('HGET', unacked, name .. given)
end
if given > 0 or (ARGV[5] ~= '' and now > tonumber(ARGV[5])) then
  return taken
end

local number = 0
local function hold(entry)
  -- Never over what is there: of a take whose reply was lost, a part may have been returned by now.
  while redis.call('HSETNX', unacked, name .. number, entry) == 0 do
    number = number + 1
  end
  redis.call('ZADD', leases, expiry, name .. number)
  give(name .. number, entry)
  number = number + 1
end

local left = tonumber(ARGV[6])
-- One by one, for what stands in the list tells its size only once it is out.
local function move(list, most, before)
  local count = 0
  while count < most and left > 0 do
    local popped = redis.call('RPOP', list)
    if not popped then
      break
    end
    left = left - #popped
    hold(before .. popped)
    count = count + 1
  end
  return count
end

move(returned, tonumber(ARGV[2]), '')
local room = tonumber(ARGV[1])
for i = 4, #KEYS do
  room = room - move(KEYS[i], room, KEYS[i % 2 == 0 and i + 1 or i] .. '\n0\n')
end
return taken
