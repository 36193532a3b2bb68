-- Move messages from the queue, and from the suspects, into the hash of the worker that asks.
-- A message is never in neither place. An entry is: the list that it came from, the number of
-- crashes, a line for each, the message.
-- ARGV: the lease's name; for how many seconds it is given; 1 if it is new; the name of this take;
-- most messages; most suspects; a number of bytes: what reaches it is the last message that is taken;
-- most bytes of a message: of a larger one only its length, begin and end are kept (oversized.py).
-- KEYS: leases, unacked, suspects, then for each list of the queue what arrived from it for an idle
-- worker, and the list itself. -> tag, entry, …; nil if the lease was lost
local leases, unacked, suspects, lease, name = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[4]
redis.call('HDEL', unacked, '') -- lets the writes below pass where memory is full
local ends = redis.call('ZSCORE', leases, lease)
if ends and tonumber(ends) == 0 or not ends and ARGV[3] ~= '1' then -- it has lapsed
  return false
elseif ARGV[3] == '1' then
  local time = redis.call('TIME')
  redis.call('ZADD', leases, string.format('%.6f', time[1] + time[2] / 1000000 + ARGV[2]), lease)
end

-- The client sends a take again if its reply was lost, and gets what it took the first time.
local taken, count = {}, 0
local entry = redis.call('HGET', unacked, name .. count)
while entry do
  taken[#taken + 1] = name .. count
  taken[#taken + 1] = entry
  count = count + 1
  entry = redis.call('HGET', unacked, name .. count)
end
if count > 0 then
  return taken
end

local left, largest = tonumber(ARGV[7]), tonumber(ARGV[8])
-- One by one: the size of a message is known only once it is out of the list.
local function move(list, most, before)
  local moved = 0
  while moved < most and left > 0 do
    local popped = redis.call('RPOP', list)
    if not popped then
      break
    end
    if before ~= '' and #popped > largest then
      popped = '\0' .. #popped .. '\n' .. string.sub(popped, 1, 4096) .. string.sub(popped, -32768)
    end
    while redis.call('HSETNX', unacked, name .. count, before .. popped) == 0 do
      count = count + 1 -- never over what is there
    end
    taken[#taken + 1] = name .. count
    taken[#taken + 1] = before .. popped
    left = left - #popped
    count = count + 1
    moved = moved + 1
  end
  return moved
end

move(suspects, tonumber(ARGV[6]), '')
local room = tonumber(ARGV[5])
for i = 4, #KEYS do
  room = room - move(KEYS[i], room, KEYS[i % 2 == 0 and i + 1 or i] .. '\n0\n')
end
return taken
