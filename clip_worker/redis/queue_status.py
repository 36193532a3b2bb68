"""Counts what waits in a queue, and what is in flight, in one round trip.

It needs the rights to EVALSHA, SCRIPT LOAD, TIME, LLEN, LINDEX, HLEN, ZCARD, ZSCORE, ZRANGE and
ZREVRANGE on the queue's keys, and writes nothing. Messages in flight of workers on kombu's
transport (`CLIP_WORKER_QUEUE_PATH=stock`) are not counted, since kombu keeps them apart from the
queue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from clip_worker.contract import SENT_AT_HEADER
from clip_worker.contract.keys import QueueKeys, dead_index_key

if TYPE_CHECKING:
    from redis import Redis

MOST_TENANTS = 5  # that are named

# The oldest message of a list is the last. It can be megabytes long, so only the time at which it
# was sent leaves Redis. Where that is part of a string, of the body or of what is shown of the
# arguments, its quotes are escaped, so that it is not found there.
# Of the tenants those with the most messages are looked at, and those whose turns come next: there
# may be very many.
# KEYS: leases, dead letters' index, webhooks, suspects, the other lists. ARGV: what the keys of
# unacknowledged messages begin with, the header's name, what the keys of tenants begin with, how
# many tenants to look at. -> messages in the lists, how many of them are suspects, messages in
# flight, live leases, dead letters, webhooks, the age in seconds of the oldest message, or '', how
# many tenants have messages, and the largest: name, messages, ...
_COUNT = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local messages, suspects, oldest = 0, redis.call('LLEN', KEYS[4]), nil
local function look(list)
  local entry = redis.call('LINDEX', list, -1)
  if entry then
    local _, ends = string.find(entry, '"' .. ARGV[2] .. '"', 1, true)
    local sent = ends and tonumber(string.match(entry, '^%s*:%s*([%d.eE+-]+)', ends + 1) or '')
    if sent and sent > 0 and (not oldest or sent < oldest) then
      oldest = sent
    end
  end
end
for i = 4, #KEYS do
  messages = messages + redis.call('LLEN', KEYS[i])
  look(KEYS[i])
end
local base, most = ARGV[3], tonumber(ARGV[4])
local waiting, seen, tenants, largest = base .. 's-waiting', {}, 0, {}
local function look_at(tenant)
  for _, step in ipairs(seen[tenant] and {} or {0, 3, 6, 9}) do
    look(base .. ':' .. step .. ':' .. tenant)
  end
  seen[tenant] = true
end
messages = messages + (redis.call('ZSCORE', waiting, '*') or 0)
local found = redis.call('ZREVRANGE', waiting, 0, most + 1, 'WITHSCORES')
for i = 1, #found, 2 do
  look_at(found[i])
  if found[i] ~= '*' and found[i] ~= '' and #largest < 2 * most then
    largest[#largest + 1], largest[#largest + 2] = found[i], found[i + 1]
  end
end
for i = 1, most do
  local tenant = redis.call('LINDEX', base .. 's', -i)
  if tenant then look_at(tenant) end
end
for _, name in ipairs({'*', ''}) do
  tenants = tenants - (redis.call('ZSCORE', waiting, name) and 1 or 0)
end
tenants = tenants + redis.call('ZCARD', waiting)
local in_flight, live = 0, 0
local leases = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #leases, 2 do
  in_flight = in_flight + redis.call('HLEN', ARGV[1] .. leases[i])
  if tonumber(leases[i + 1]) > now and string.find(leases[i], 'parked:', 1, true) ~= 1 then
    live = live + 1
  end
end
local age = oldest and string.format('%.3f', math.max(0, now - oldest)) or ''
local dead, posts = redis.call('ZCARD', KEYS[2]), redis.call('ZCARD', KEYS[3])
return {messages, suspects, in_flight, live, dead, posts, age, tenants, largest}
"""


@dataclass(frozen=True)
class QueueStatus:
    """What a queue holds at one moment. A message is one task, of one image or of several.

    Attributes:
        queue: Its name.
        messages: How many wait to be taken, suspects included.
        in_flight_messages: How many workers hold, or have held until they were lost.
        suspects: How many of `messages` were being worked on when their worker died.
        workers: Leases that have not lapsed. A worker that has had nothing to do for a while
            may have none, though it takes what comes.
        oldest_s: Seconds since the oldest waiting message was sent, by Redis's clock and the
            producer's; None if nothing waits, or its producer did not say when.
        dead_letters: How many there are.
        webhooks: Posts to webhooks that are due, or wait for another attempt.
        tenants: How many tenants have messages in lists of their own.
        largest_tenants: Those of them with the most messages, and how many, the largest first.
    """

    queue: str
    messages: int
    in_flight_messages: int
    suspects: int
    workers: int
    oldest_s: float | None
    dead_letters: int
    webhooks: int
    tenants: int = 0
    largest_tenants: Mapping[str, int] = field(default_factory=dict)

    @property
    def total_messages(self) -> int:
        """Waiting or in flight: all that is not done yet."""
        return self.messages + self.in_flight_messages


def queue_status(redis: Redis, queue: str) -> QueueStatus:
    """Read what a queue holds.

    Args:
        redis: Client of the Redis that the queue is in; it returns bytes.
        queue: Name of the queue.

    Raises:
        RedisError: Redis can't be reached, or forbids a command.
    """
    keys = QueueKeys(queue)
    places = [keys.leases, dead_index_key(queue), keys.webhooks, keys.suspects]
    places += [*keys.arrived, *keys.lists]
    count = redis.register_script(_COUNT)
    args: list[str | int] = [keys.unacked(""), SENT_AT_HEADER, keys.tenant_base, MOST_TENANTS]
    found = cast("list[Any]", count(keys=places, args=args))
    messages, suspects, in_flight, live, dead, posts, age, tenants, largest = found
    pairs = zip(largest[::2], largest[1::2], strict=True)
    return QueueStatus(
        queue=queue,
        messages=messages,
        in_flight_messages=in_flight,
        suspects=suspects,
        workers=live,
        oldest_s=float(age) if age else None,
        dead_letters=dead,
        webhooks=posts,
        tenants=tenants,
        largest_tenants={name.decode(): int(number) for name, number in pairs},
    )
