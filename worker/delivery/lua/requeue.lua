-- Put in front of `release` and `reap`. Puts an entry back: to the list that it came from, to be
-- taken next, or among the suspects if it has a history. `line` says that it was being worked on
-- when its worker died: it becomes the newest line of the history. `base` is what the keys of
-- tenants begin with.
local function requeue(base, suspects, entry, line)
  local source, crashes, rest = string.match(entry, '^([^\n]*)\n(%d+)\n(.*)$')
  local is_of_tenant = string.sub(source, 1, #base + 1) == base .. ':'
  local step, tenant = string.match(is_of_tenant and string.sub(source, #base + 2) or '', '^(%d):(.*)$')
  if line then
    redis.call('LPUSH', suspects, source .. '\n' .. (crashes + 1) .. '\n' .. line .. '\n' .. rest)
  elseif crashes ~= '0' then
    redis.call('RPUSH', suspects, entry)
  elseif step then
    put(base, tenant, step, 'RPUSH', { rest })
  else
    redis.call('RPUSH', source, rest)
  end
end
