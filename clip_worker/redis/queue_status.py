"""Counts what waits in a queue, and what is in flight, in one round trip.

It needs the rights to EVALSHA, SCRIPT LOAD, TIME, LLEN, LINDEX, HLEN, ZCARD and ZRANGE on the
queue's keys, and writes nothing. Messages in flight of workers on kombu's transport
(`CLIP_WORKER_QUEUE_PATH=stock`) are not counted, since kombu keeps them apart from the queue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from clip_worker.contract import SENT_AT_HEADER
from clip_worker.contract.keys import QueueKeys, dead_index_key

if TYPE_CHECKING:
    from redis import Redis

# The oldest message of a list is the last. It can be megabytes long, so only the time at which it
# was sent leaves Redis. Where that is part of a string, of the body or of what is shown of the
# arguments, its quotes are escaped, so that it is not found there.
# KEYS: leases, dead letters' index, webhooks, suspects, the other lists. ARGV: what the keys of
# unacknowledged messages begin with, the header's name. -> messages in the lists, how many of them
# are suspects, messages in flight, live leases, dead letters, webhooks, and the age in seconds of
# the oldest message, or ''
_COUNT = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local messages, suspects, oldest = 0, redis.call('LLEN', KEYS[4]), nil
for i = 4, #KEYS do
  local length = redis.call('LLEN', KEYS[i])
  messages = messages + length
  if length > 0 then
    local entry = redis.call('LINDEX', KEYS[i], -1)
    local _, ends = string.find(entry, '"' .. ARGV[2] .. '"', 1, true)
    local sent = ends and tonumber(string.match(entry, '^%s*:%s*([%d.eE+-]+)', ends + 1) or '')
    if sent and sent > 0 and (not oldest or sent < oldest) then
      oldest = sent
    end
  end
end
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
return {messages, suspects, in_flight, live, dead, posts, age}
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
    """

    queue: str
    messages: int
    in_flight_messages: int
    suspects: int
    workers: int
    oldest_s: float | None
    dead_letters: int
    webhooks: int

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
    found = cast("list[Any]", count(keys=places, args=[keys.unacked(""), SENT_AT_HEADER]))
    messages, suspects, in_flight, live, dead, posts, age = found
    return QueueStatus(
        queue=queue,
        messages=messages,
        in_flight_messages=in_flight,
        suspects=suspects,
        workers=live,
        oldest_s=float(age) if age else None,
        dead_letters=dead,
        webhooks=posts,
    )
