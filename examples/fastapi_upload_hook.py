"""An upload hook in FastAPI: store the picture's bytes, return at once, let the browser ask later.

pip install fastapi uvicorn python-multipart; uvicorn examples.fastapi_upload_hook:api
"""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, File, HTTPException

from clip_worker import Client
from clip_worker.contract import Classification
from clip_worker.errors import (
    ClipWorkerError,
    InvalidRequestError,
    QueueUnavailableError,
    ResultTimeoutError,
)

LABELS = ["a person", "an animal", "food", "a landscape", "a document", "a screenshot"]

api = FastAPI()
client = Client("redis://localhost:6379/0")


@api.post("/pictures", status_code=202)
def tag(picture: Annotated[bytes, File()]) -> dict[str, str]:
    """Queue an uploaded picture."""
    try:
        return {"task": client.classify(client.upload(picture), LABELS, k=3).id}
    except QueueUnavailableError as error:
        raise HTTPException(503, str(error)) from error
    except InvalidRequestError as error:
        raise HTTPException(422, str(error)) from error


@api.get("/pictures/{task}")
def answer(task: str) -> Classification:
    """The labels, 404 while there are none yet, 422 if there never will be."""
    try:
        return client.handle(task).get(timeout=0.1)
    except ResultTimeoutError as error:
        raise HTTPException(404, "not tagged yet") from error
    except ClipWorkerError as error:
        raise HTTPException(422, {"code": error.code, "message": error.message}) from error
