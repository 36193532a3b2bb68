"""A Redis whose clock was set: what its queue's keys look like then."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import redis

    from clip_worker.contract.keys import QueueKeys

# A time in the keys lies as far in the future as the clock was set back, and all of them at once.
_SHIFT = """
local by = tonumber(ARGV[1])
redis.call('SET', KEYS[1], string.format('%.6f', redis.call('GET', KEYS[1]) + by))
for _, lease in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  if redis.call('ZSCORE', KEYS[2], lease) ~= '0' then
    redis.call('ZINCRBY', KEYS[2], by, lease)
  end
end
"""


def set_back(redis: redis.Redis, keys: QueueKeys, seconds: float) -> None:
    """Leave a queue's keys as a clock that was set back by so many seconds leaves them."""
    redis.eval(_SHIFT, 2, keys.tick, keys.leases, seconds)
