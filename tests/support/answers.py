"""An answer as a worker stores it, for tests that need one and not its contents."""

from clip_worker import Client
from clip_worker.contract import Classification, Timing

ANSWER = Classification(
    predictions=(),
    model="m",
    model_digest="d",
    timing=Timing(
        queue=None, labels=0, fetch=0, decode=0, batch_wait=0, forward=0, score=0, batch_size=1
    ),
)


def store_answer(client: Client, task_id: str) -> None:
    """Store and publish it as the result of a task, through Celery's backend."""
    client._app.backend.store_result(task_id, ANSWER.model_dump(mode="json"), "SUCCESS")
