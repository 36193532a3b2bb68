-- Put in front of `release` and `reap`. Puts an entry back: to the queue that it came from, to be
-- taken next, or among the suspects if it has a history. `line` says that it was being worked on
-- when its worker died: it becomes the newest line of the history.
local function requeue(suspects, entry, line)
  local source, crashes, rest = string.match(entry, '^([^\n]*)\n(%d+)\n(.*)$')
  if line then
    redis.call('LPUSH', suspects, source .. '\n' .. (crashes + 1) .. '\n' .. line .. '\n' .. rest)
  elseif crashes == '0' then
    redis.call('RPUSH', source, rest)
  else
    redis.call('RPUSH', suspects, entry)
  end
end
