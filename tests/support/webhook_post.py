"""A post to a webhook, for tests that put one into Redis themselves."""

from __future__ import annotations

from worker.webhooks.post import WebhookPost

POST = WebhookPost(
    url="http://127.0.0.1/hooks?token=hidden",
    body='{"task_id": "t", "status": "SUCCESS", "result": "ü"}',
    task="clip.classify",
    task_id="t",
)
