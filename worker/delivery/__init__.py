"""The queue consumer: from Redis to a handler and back, with no message lost on the way.

A message is in the queue, or in the hash of the worker that holds it, or done. Only Lua scripts
move it between these, so at no moment is it in none of them. Nothing here knows images or models.
See docs/delivery.md.

::

    queue ──take──▶ unacked:<lease> ──finish──▶ result, or dead letter
      ▲                    │
      └──release, reap─────┘  requeued, or reclaimed from a worker whose lease lapsed

From the bottom: `redis_queue` (the scripts); `delivery`, `in_flight` and `prefetch` (what this
process holds, and how much); `poller`, `ack_writer` and `heartbeat` (a thread each); `acks`,
`router`, `celery_bridge`, `drain`; and `queue_consumer`, which holds them all.
"""
