"""celery-batches without a model."""

from __future__ import annotations

from celery import Celery
from celery_batches import Batches, SimpleRequest

from benchmarks.bench.contenders.no_op import answer
from benchmarks.bench.contenders.settings import CELERY

BATCH = 64
WAIT_S = 0.1

app = Celery("batches_no_op")
app.conf.update(CELERY, worker_prefetch_multiplier=4 * BATCH)


@app.task(name="bench.classify", base=Batches, flush_every=BATCH, flush_interval=WAIT_S)
def classify(requests: list[SimpleRequest]) -> None:
    """Answer each request of a batch."""
    for request in requests:
        labels = request.kwargs["labels"]
        app.backend.mark_as_done(request.id, answer(labels), request=request)
