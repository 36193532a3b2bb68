"""How the waiting messages of tenants lie in Redis.

A tenant that has waiting messages has a list for each priority, is in the list of those whose turn
comes, and has its number of messages in a sorted set. A tenant without waiting messages is
nowhere. The tenant '' stands for the messages that name none, where some name one.
"""

# `put` pushes messages onto a tenant's list and lets the tenant take its turn after all others.
# `base`: what the keys begin with (`QueueKeys.tenant_base`); `command`: LPUSH for new messages,
# RPUSH for those to be taken next. The order of the writes matters: where access rights end the
# script early, a tenant may have a turn without a message, but no message without a turn.
PUT = """
local STEPS = {0, 3, 6, 9} -- of priority, the most urgent first
local function put(base, name, step, command, messages)
  local waiting = base .. 's-waiting'
  if not redis.call('ZSCORE', waiting, name) then redis.call('LPUSH', base .. 's', name) end
  redis.call(command, base .. ':' .. step .. ':' .. name, unpack(messages))
  redis.call('ZINCRBY', waiting, #messages, name)
  redis.call('ZINCRBY', waiting, #messages, '*') -- of all tenants; no tenant has this name
end
"""
