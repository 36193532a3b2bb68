"""The queue path: from Redis to a handler and back, with nothing lost on the way.

A message is in the queue, or in the unacknowledged set under a lease, or done; it moves between
these only by Lua scripts, so there is no moment at which it is in none of them (stock kombu has
such a moment: kombu#305). Nothing here knows pictures or models.

::

    queue ──take──▶ unacknowledged ──finish──▶ result
      ▲                  │  lease runs out, or the worker gives it back
      └──────────────────┘  with a crash in its history: `returned`, run apart; at the limit: dead

From the bottom: `keys` (names in Redis), `unacked_entry` and `envelope` (what stands there),
`redis_queue` (the scripts), `in_flight`, `prefetch` (what this process holds, how
much, and what may run together), `poller`, `ack_writer`, `heartbeat` (a thread each), `acks`,
`drain`, and `queue_consumer`, which holds them all.
"""
