"""Builds what an `AsyncClient` consists of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from clip_worker.client.arguments import name_of
from clip_worker.client.async_publisher import MOST_MESSAGES, AsyncPublisher
from clip_worker.client.async_results import AsyncResults
from clip_worker.client.async_submission import AsyncSubmission
from clip_worker.client.push_plan import PushPlan, QueueLimit
from clip_worker.client.result_decoder import ResultDecoder
from clip_worker.client.sign_tasks import parsed_keys
from clip_worker.client.task_encoder import TaskEncoder
from clip_worker.contract.keys import QueueKeys
from clip_worker.errors import InvalidRequestError
from clip_worker.redis.async_commands import AsyncCommands
from clip_worker.redis.async_connections import AsyncConnector, AsyncPool
from clip_worker.redis.celery_app import client_app
from clip_worker.redis.one_loop import OneLoop
from clip_worker.redis.pacer import Turns
from clip_worker.redis.url import check_redis_url

LEAST_CONNECTIONS = 2


@dataclass(frozen=True)
class AsyncParts:
    """The collaborators of an `AsyncClient`.

    Attributes:
        commands: Sends commands to the Redis with the queue.
        submission: Sends requests.
        results: Reads results.
        turns: Taken by calls that begin.
    """

    commands: AsyncCommands
    submission: AsyncSubmission
    results: AsyncResults
    turns: Turns
    _connectors: tuple[AsyncConnector, ...]
    _pools: tuple[AsyncPool, ...]
    _loop: OneLoop

    @classmethod
    def build(  # noqa: PLR0913  # as for the client
        cls,
        url: str,
        result_url: str | None,
        queue: str,
        limit: QueueLimit | None,
        *,
        result_ttl_s: float,
        max_connections: int,
        signing_keys: str | None,
    ) -> Self:
        """The parts of a client, which connect when they are first used; see `AsyncClient`."""
        urls = [check_redis_url(url)]
        if result_url not in (None, url):
            urls.append(check_redis_url(str(result_url)))
        name_of("queue", queue)
        signing = () if signing_keys is None else parsed_keys(signing_keys)
        if max_connections < LEAST_CONNECTIONS:
            raise InvalidRequestError(
                f"max_connections is {max_connections!r}; pass {LEAST_CONNECTIONS} or more, since "
                "one of them receives results."
            )
        loop, turns = OneLoop(), Turns()
        connectors = tuple(AsyncConnector(each) for each in urls)
        pools = tuple(AsyncPool(each, max_connections - 1, loop) for each in connectors)
        commands = [AsyncCommands(pool) for pool in pools]
        plan = PushPlan(url, queue, limit, once_s=result_ttl_s, most=MOST_MESSAGES)
        return cls(
            commands[0],
            AsyncSubmission(
                TaskEncoder(queue, next(iter(signing), None)), AsyncPublisher(commands[0], plan)
            ),
            AsyncResults(
                commands[-1],
                connectors[-1],
                url=urls[-1],
                decoder=ResultDecoder(client_app(url, urls[-1], queue)),
                ttl_s=result_ttl_s,
                loop=loop,
                sent=(commands[0], QueueKeys(queue)),
                turns=turns,
            ),
            turns,
            connectors,
            pools,
            loop,
        )

    async def aclose(self) -> None:
        """Close all connections, and end the background tasks."""
        self._loop.check()
        await self.results.aclose()
        for pool in self._pools:
            await pool.aclose()
        for connector in self._connectors:
            await connector.aclose()
        self.turns.reset()
        self._loop.forget()
