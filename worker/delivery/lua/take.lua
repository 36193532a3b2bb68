-- Move messages from the queue, and from the suspects, into the hash of the worker that asks.
-- A message is never in neither place. An entry is: the list that it came from, the number of
-- crashes, a line for each, the message.
-- While no tenant has waiting messages, they are taken from the queue's lists, the most urgent first.
-- Else what lies there is sorted first, so many a take, into the lists of the tenants that its headers
-- name ('' for none); then one message is taken from each tenant in turn, the most urgent of its own.
-- ARGV: the lease's name; for how many seconds it is given; 1 if it is new; the name of this take;
-- most messages; most suspects; a number of bytes: what reaches it is the last message that is taken;
-- most bytes of a message: of a larger one only its length, begin and end are kept (oversized.py);
-- what the keys of tenants begin with; most messages to sort; the header that names the tenant.
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

local room, left, largest = tonumber(ARGV[5]), tonumber(ARGV[7]), tonumber(ARGV[8])
-- One by one: the size of a message is known only once it is out of its list.
local function keep(popped, before)
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
end

for _ = 1, tonumber(ARGV[6]) do
  local popped = left > 0 and redis.call('RPOP', suspects)
  if not popped then
    break
  end
  keep(popped, '')
end

local base = ARGV[9]
local turns, arrived, waiting = base .. 's', base .. 's-arrived', base .. 's-waiting'
local has_tenants = redis.call('EXISTS', turns, arrived) > 0
local unsorted, unsorted_bytes, header = tonumber(ARGV[10]), left, ARGV[11] .. '"'

local function tenant_of(message)
  local first, last = string.find(message, header, 1, true)
  local is_name = first and string.byte(message, first - 1) == 34 -- a quote
  local tenant = is_name and string.match(message, '^%s*:%s*"([%w_.:@/+=-]+)"', last + 1)
  return tenant and #tenant <= 64 and tenant
end

-- Messages of a list, from one on that has a tenant, each onto its tenant's list.
local function sort_list(popped, list, step)
  local found, parts = {}, {} -- the tenants, as they came; the messages of each
  while popped do
    local tenant = #popped <= largest and tenant_of(popped) or ''
    if not parts[tenant] then
      found[#found + 1], parts[tenant] = tenant, {}
    end
    table.insert(parts[tenant], popped)
    unsorted, unsorted_bytes = unsorted - 1, unsorted_bytes - #popped
    popped = unsorted > 0 and unsorted_bytes > 0 and redis.call('RPOP', list)
  end
  for _, tenant in ipairs(found) do
    put(base, tenant, step, 'LPUSH', parts[tenant])
  end
end

-- Messages of a list are kept as long as there is no tenant.
local function serve_list(list, source, step)
  local before = source .. '\n0\n'
  while has_tenants or room > 0 and left > 0 do
    local popped = (not has_tenants or unsorted > 0 and unsorted_bytes > 0) and redis.call('RPOP', list)
    if not popped then
      break
    end
    has_tenants = has_tenants or #popped <= largest and tenant_of(popped)
    if has_tenants then
      sort_list(popped, list, step)
    else
      keep(popped, before)
      room = room - 1
    end
  end
end

local function serve_tenant(one)
  while one.step <= #STEPS do
    local list = base .. ':' .. STEPS[one.step] .. ':' .. one.name
    local popped = redis.call('RPOP', list)
    if popped then
      keep(popped, list .. '\n0\n')
      one.taken = one.taken + 1
      return true
    end
    one.step = one.step + 1 -- nothing comes while a script runs
  end
  return false
end

-- Puts a tenant behind all others, or forgets it; -> by how many messages the number of all shrinks.
local function end_turn(one)
  local lists = {}
  for i, step in ipairs(STEPS) do
    lists[i] = base .. ':' .. step .. ':' .. one.name
  end
  if redis.call('EXISTS', unpack(lists)) > 0 then
    redis.call('LPUSH', turns, one.name)
    redis.call('ZINCRBY', waiting, -one.taken, one.name)
    return one.taken
  end
  local counted = redis.call('ZSCORE', waiting, one.name) or 0
  redis.call('ZREM', waiting, one.name)
  return counted
end

if room > 0 then
  for i = 4, #KEYS, 2 do
    serve_list(KEYS[i], KEYS[i + 1], STEPS[i / 2 - 1])
    serve_list(KEYS[i + 1], KEYS[i + 1], STEPS[i / 2 - 1])
  end
end
if not has_tenants then
  return taken
end

local seen, first, drained = {}, 1, {} -- who has had a turn in this take; the first is next again
while room > 0 and left > 0 do
  local tenant = redis.call('RPOP', arrived) or redis.call('RPOP', turns)
  local one = tenant and { name = tenant, step = 1, taken = 0 } or seen[first]
  if not one then
    break
  end
  first = tenant and first or first + 1
  if serve_tenant(one) then
    seen[#seen + 1] = one
    room = room - 1
  else
    drained[#drained + 1] = one
  end
end

local gone = 0
for i = first, #seen do
  gone = gone + end_turn(seen[i])
end
for _, one in ipairs(drained) do
  gone = gone + end_turn(one)
end
if redis.call('EXISTS', turns, arrived) == 0 then
  redis.call('DEL', waiting)
elseif gone > 0 then
  redis.call('ZINCRBY', waiting, -gone, '*')
end
return taken
