"""Webhooks: results that are posted to a URL of the caller's (docs/webhooks.md).

`worker.delivery` writes a post to the outbox in the same atomic step in which it stores a result
and acknowledges its message, so none is lost with a worker. Any worker posts what is due:

::

    finish ──▶ outbox in Redis ──claim──▶ sender ──settle──▶ removed, due again, or dead letter

From the bottom: `post` (what is posted), `outbox` (the scripts), `sender` (HTTP, with the SSRF
check of `worker.sources`), `schedule` (when the next attempt is made), `host_rests` (which hosts
are left alone) and `poster` (the threads).
"""
