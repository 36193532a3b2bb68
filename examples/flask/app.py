"""Photos in Flask: accept an upload, queue it for clip-worker, answer when it is tagged.

pip install flask clip-worker
flask --app examples/flask/app run

Settings are read from the environment: FLASK_REDIS_URL, FLASK_LABELS='["cat", "dog"]' and so on.
"""

from __future__ import annotations

import logging
from typing import Any

from flask import Blueprint, Flask, abort, current_app, request, url_for

from clip_worker import (
    Client,
    ClipWorkerError,
    InvalidRequestError,
    QueueFullError,
    QueueUnavailableError,
    ResultTimeoutError,
    verify_webhook,
)

Answer = tuple[dict[str, Any], int, dict[str, str]]

photos = Blueprint("photos", __name__, url_prefix="/photos")


def create_app() -> Flask:
    """The application, with limits for uploads from strangers."""
    app = Flask(__name__)
    app.config.update(
        REDIS_URL="redis://localhost:6379/0",
        LABELS=["a person", "an animal", "food", "a landscape", "a document", "a screenshot"],
        TYPES=["image/jpeg", "image/png", "image/webp"],
        MAX_CONTENT_LENGTH=10_000_000,  # bytes of a request; Flask answers 413 beyond
        MAX_FORM_PARTS=1,  # one file a request
        MAX_WAITING=500,  # messages in the queue; 503 beyond
        EXPIRES_S=120,  # a photo that waits longer fails instead of running
        UPLOAD_TTL_S=300,  # Redis keeps no upload for longer
        WEBHOOK_URL=None,  # where the workers post results, such as https://…/photos/hook
        WEBHOOK_SECRET=None,  # the workers' CLIP_WORKER_WEBHOOK_SECRET
    )
    app.config.from_prefixed_env()
    app.logger.setLevel(logging.INFO)
    app.extensions["clip"] = Client(
        app.config["REDIS_URL"], max_queue_length=app.config["MAX_WAITING"]
    )
    app.register_blueprint(photos)
    app.register_error_handler(QueueFullError, busy)
    app.register_error_handler(QueueUnavailableError, busy)
    app.register_error_handler(ClipWorkerError, failed)
    return app


@photos.post("")
def upload() -> Answer:
    """Queue the file `photo` of a form; the answer's `Location` is where its labels will be."""
    photo = request.files.get("photo") or abort(400, "Send a form with the file 'photo'.")
    if photo.mimetype not in current_app.config["TYPES"]:
        abort(415)
    client, config = current_app.extensions["clip"], current_app.config
    image = client.upload(photo.read(), ttl_s=config["UPLOAD_TTL_S"])
    try:
        handle = client.classify(
            image,
            config["LABELS"],
            k=3,
            expires_s=config["EXPIRES_S"],
            webhook=config["WEBHOOK_URL"],
        )
    except QueueFullError:
        client.discard(image)  # else Redis keeps it for `ttl_s`
        raise
    location = url_for("photos.show", photo_id=handle.id)
    return {"id": handle.id}, 202, {"Location": location}


@photos.get("/<uuid:photo_id>")
def show(photo_id: object) -> Answer:
    """The labels of a photo; 202 while there are none yet."""
    handle = current_app.extensions["clip"].handle(str(photo_id))
    try:
        answer = handle.get(timeout=0)
        return answer.model_dump(include={"predictions"}, exclude_none=True), 200, {}
    except ResultTimeoutError:
        return {"id": handle.id}, 202, {"Retry-After": "1"}


@photos.post("/hook")
def tagged() -> Answer:
    """The workers post here what became of a photo."""
    secret = current_app.config["WEBHOOK_SECRET"] or abort(404)
    try:
        event = verify_webhook(request.get_data(), request.headers, secret)
    except InvalidRequestError as error:
        abort(400, str(error))
    # It may be posted more than once: in place of this line, write it into the row of its task.
    outcome = event.error.code if event.error else event.result.predictions[0].label
    current_app.logger.info("Photo %s: %s", event.task_id, outcome)
    return {}, 200, {}


def busy(error: ClipWorkerError) -> Answer:
    """The queue is full, or Redis is away: the same request may succeed later."""
    current_app.logger.warning("%s", error)
    return {"code": error.code}, 503, {"Retry-After": "5"}


def failed(error: ClipWorkerError) -> Answer:
    """This photo gets no labels. The message is for logs, the code for programs."""
    current_app.logger.warning("%s: %s", error.code, error)
    return {"code": error.code}, 422, {}
