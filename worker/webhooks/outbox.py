"""What waits to be posted to webhooks, in Redis: one outbox a queue.

`worker/delivery/lua/finish.lua` puts posts in. Each method is one step in Redis, which may be
repeated after a lost reply; redis-py's errors pass.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

from clip_worker.contract.keys import dead_index_key, dead_key
from clip_worker.redis.commands import Commands
from worker.webhooks.post import WebhookPost

if TYPE_CHECKING:
    from redis import Redis

    from clip_worker.contract.keys import QueueKeys
    from clip_worker.redis.dead_letters import DeadLetter

SCRIPTS = ("claim", "settle")


class Claim(NamedTuple):
    """A post that this worker is to make.

    Attributes:
        event_id: Its id.
        post: What is posted.
        is_more: Whether more are due.
    """

    event_id: str
    post: WebhookPost
    is_more: bool


class Outbox:
    """The outbox of one queue. Threads may share it.

    Args:
        redis: Client that gives bytes.
        keys: Of the queue.
    """

    def __init__(self, redis: Redis, keys: QueueKeys) -> None:
        self._places = [keys.webhooks, keys.webhook_posts]
        self._dead = [dead_key(keys.queue), dead_index_key(keys.queue)]
        self._commands = Commands(redis)
        self._claim, self._settle = (redis.register_script(_source(name)) for name in SCRIPTS)

    def claim(self, claim_s: float) -> Claim | None:
        """Claim the post that has been due for longest; None if none is due.

        Args:
            claim_s: After so many seconds it is due again, unless it is settled before.

        Raises:
            ValueError: It can't be read: another version of clip-worker wrote it.
        """
        claimed = self._commands.run(self._claim, self._places, [claim_s])
        if claimed is None:
            return None
        event_id, stored, more = claimed
        return Claim(event_id.decode(), WebhookPost.decode(stored), bool(more))

    def remove(self, event_id: str) -> bool:
        """Remove a post that was delivered; False if it was removed before."""
        return self._end(event_id)

    def retry(self, event_id: str, post: WebhookPost, pause_s: float) -> bool:
        """Let a post be due again after a pause, unless it was removed before."""
        return self._end(event_id, post.encode(), pause_s)

    def bury(self, letter: DeadLetter) -> bool:
        """Remove a post and file it as a dead letter, unless it was removed before."""
        return self._end(letter.id, "", 0, letter.encode(), letter.died_at)

    def waiting(self) -> int:
        """How many posts there are, those that are being posted included."""
        return int(self._commands("ZCARD", self._places[0]))

    def _end(
        self,
        event_id: str,
        post: str = "",
        pause_s: float = 0,
        letter: str = "",
        died_at: float = 0,
    ) -> bool:
        args = [event_id, post, pause_s, letter, died_at]
        return bool(self._commands.run(self._settle, [*self._places, *self._dead], args))


@cache
def _source(name: str) -> str:
    return (resources.files("worker.webhooks") / "lua" / f"{name}.lua").read_text()
