-- Whether this Redis does what the other scripts need: a clock before writes, pops of several.
-- KEYS: a list that nobody else uses.
redis.call('TIME')
redis.call('DEL', KEYS[1]) -- lets the writes below pass where memory is full
redis.call('RPUSH', KEYS[1], 'a', 'b')
local popped = redis.call('RPOP', KEYS[1], 2)
redis.call('DEL', KEYS[1])
return #popped
