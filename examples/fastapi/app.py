"""Photos in FastAPI: accept an upload, queue it, send its labels as a server-sent event.

pip install "fastapi>=0.165" uvicorn python-multipart clip-worker
uvicorn --app-dir examples/fastapi app:app
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, TypedDict
from uuid import UUID

from fastapi import Depends, FastAPI, HTTPException, Request, UploadFile
from fastapi.responses import FileResponse, JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel

from clip_worker import (
    AsyncClient,
    ClipWorkerError,
    QueueFullError,
    QueueUnavailableError,
    ResultTimeoutError,
)

REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
LABELS = os.environ.get(
    "LABELS", "a person,an animal,food,a landscape,a document,a screenshot"
).split(",")

# Limits for uploads from strangers.
MAX_BYTES = 10_000_000  # of a request; FastAPI answers 413 beyond
TYPES = {"image/jpeg", "image/png", "image/webp"}
MAX_WAITING = 500  # messages in the queue; 503 beyond
EXPIRES_S = 120  # a photo that waits longer fails instead of running
UPLOAD_TTL_S = 300  # Redis keeps no upload for longer
STREAM_S = 60  # then a stream ends, and the browser asks again

log = logging.getLogger("uvicorn.error")


class State(TypedDict):
    """What the lifespan hands to requests."""

    clip: AsyncClient


class Queued(BaseModel):
    """Where the labels of a photo will be."""

    id: str
    events: str


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[State]:
    """One client for all requests."""
    async with AsyncClient(REDIS_URL, max_queue_length=MAX_WAITING) as clip:
        yield {"clip": clip}


def client_of(request: Request) -> AsyncClient:
    """The client of this process."""
    return request.state.clip


Clip = Annotated[AsyncClient, Depends(client_of)]
app = FastAPI(
    lifespan=lifespan, max_body_size=MAX_BYTES, form_limits={"max_files": 1, "max_fields": 0}
)


@app.get("/")
async def page() -> FileResponse:
    """A form, and a script that listens."""
    return FileResponse(Path(__file__).with_name("index.html"))


@app.post("/photos", status_code=202)
async def upload(photo: UploadFile, clip: Clip) -> Queued:
    """Queue a photo and return at once."""
    if photo.content_type not in TYPES:
        raise HTTPException(415, f"Send one of {', '.join(sorted(TYPES))}.")
    image = await clip.upload(await photo.read(), ttl_s=UPLOAD_TTL_S)
    try:
        handle = await clip.classify(image, LABELS, k=3, expires_s=EXPIRES_S)
    except QueueFullError:
        await clip.discard(image)  # else Redis keeps it for `ttl_s`
        raise
    return Queued(id=handle.id, events=f"/photos/{handle.id}/events")


@app.get("/photos/{photo_id}/events", response_class=EventSourceResponse)
async def events(photo_id: UUID, clip: Clip) -> AsyncIterator[ServerSentEvent]:
    """Send one event, `labels` or `failed`, when the worker has published the result."""
    try:
        answer = await clip.handle(str(photo_id)).get(timeout=STREAM_S)
    except ResultTimeoutError:
        return
    except ClipWorkerError as error:
        log.warning("%s: %s", error.code, error)
        yield ServerSentEvent(event="failed", data={"code": error.code})
    else:
        labels = [each.model_dump(include={"label", "probability"}) for each in answer.predictions]
        yield ServerSentEvent(event="labels", data=labels)


@app.exception_handler(QueueFullError)
@app.exception_handler(QueueUnavailableError)
async def busy(_: Request, error: ClipWorkerError) -> JSONResponse:
    """The same request may succeed later."""
    log.warning("%s", error)
    return JSONResponse({"code": error.code}, 503, {"Retry-After": "5"})


@app.exception_handler(ClipWorkerError)
async def refused(_: Request, error: ClipWorkerError) -> JSONResponse:
    """This photo can't be queued. The message is for logs, the code for programs."""
    log.warning("%s: %s", error.code, error)
    return JSONResponse({"code": error.code}, 422)
