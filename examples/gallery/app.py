"""A gallery that tags itself: drop pictures, change the labels, and watch the tags follow.

python examples/gallery/demo.py    # with a Redis and a worker of its own
uvicorn --app-dir examples/gallery --timeout-graceful-shutdown 1 app:app
"""

# ruff: noqa: FAST003  # the name in a path is an argument of `gallery_of`
from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final, TypedDict
from uuid import UUID

from fastapi import Body, Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from fastapi.staticfiles import StaticFiles
from finder import Finder, Query
from galleries import Galleries
from gallery import Gallery, Picture
from headers import SecurityHeaders
from labels import SUGGESTIONS, Labels
from limits import (
    MAX_LABEL_CHARS,
    MAX_LABELS,
    MAX_PICTURES,
    MAX_STREAMS,
    MAX_UPLOAD_BYTES,
    MAX_WAITING,
    SILENCE_S,
)
from tagger import Tagger, problem, web_picture

from clip_worker import AsyncClient, ClipWorkerError, TemporaryError

REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
STATIC = Path(__file__).with_name("static")
FRAME_S: Final = 0.03  # what comes together is sent together
TICK_S: Final = 1.0


class State(TypedDict):
    """What the lifespan hands to requests."""

    galleries: Galleries
    tagger: Tagger
    finder: Finder


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[State]:
    """One client for all galleries."""
    async with AsyncClient(
        REDIS_URL, max_queue_length=MAX_WAITING, max_upload_bytes=MAX_UPLOAD_BYTES
    ) as clip:
        finder = Finder(clip)
        state = State(galleries=Galleries(), tagger=Tagger(clip, finder), finder=finder)
        yield state
        for gallery in state["galleries"].close_all():
            await state["tagger"].end(gallery)


def galleries_of(request: Request) -> Galleries:
    """The galleries of this process."""
    galleries: Galleries = request.state.galleries
    return galleries


def tagger_of(request: Request) -> Tagger:
    """The tagger of this process."""
    tagger: Tagger = request.state.tagger
    return tagger


def finder_of(request: Request) -> Finder:
    """The finder of this process."""
    finder: Finder = request.state.finder
    return finder


def gallery_of(name: str, galleries: Annotated[Galleries, Depends(galleries_of)]) -> Gallery:
    """The gallery that a path names."""
    if gallery := galleries.get(name):
        return gallery
    raise HTTPException(404, {"code": "NO_GALLERY", "sentence": "This gallery was closed."})


def listened(gallery: Annotated[Gallery, Depends(gallery_of)]) -> Gallery:
    """The gallery that a path names, unless too many streams are open."""
    if gallery.streams < MAX_STREAMS:
        return gallery
    raise HTTPException(429, {"code": "BUSY", "sentence": "Too many streams are open."})


AllGalleries = Annotated[Galleries, Depends(galleries_of)]
TheFinder = Annotated[Finder, Depends(finder_of)]
TheTagger = Annotated[Tagger, Depends(tagger_of)]
TheGallery = Annotated[Gallery, Depends(gallery_of)]

app = FastAPI(
    title="Gallery",
    lifespan=lifespan,
    max_body_size=MAX_UPLOAD_BYTES,
    docs_url=None,
    redoc_url=None,
)
app.add_middleware(SecurityHeaders)
app.mount("/static", StaticFiles(directory=STATIC), name="static")


@app.get("/")
async def page() -> FileResponse:
    """The page."""
    return FileResponse(STATIC / "index.html")


@app.get("/options")
async def options(tagger: TheTagger) -> dict[str, Any]:
    """What the page offers."""
    names = (path.name for path in (STATIC / "samples").iterdir())
    samples = sorted(names, key=lambda name: (len(name), name))  # mixed
    return {
        "suggestions": SUGGESTIONS,
        "label_sets": await tagger.label_sets(),
        "samples": samples,
        "max_pictures": MAX_PICTURES,
        "max_upload_bytes": MAX_UPLOAD_BYTES,
    }


@app.post("/galleries", status_code=201)
async def open_gallery(galleries: AllGalleries, tagger: TheTagger) -> dict[str, str]:
    """Open a gallery for a tab."""
    opened = galleries.open()
    if opened is None:
        raise HTTPException(
            503, {"code": "BUSY", "sentence": "All galleries are in use. Try again in a minute."}
        )
    name, ended = opened
    for each in ended:
        await tagger.end(each)
    return {"id": name}


@app.delete("/galleries/{name}", status_code=204)
async def close_gallery(name: str, galleries: AllGalleries, tagger: TheTagger) -> None:
    """Close a gallery, and delete its uploads."""
    if gallery := galleries.close(name):
        await tagger.end(gallery)


@app.get("/galleries/{name}/events", response_class=EventSourceResponse)
async def events(
    gallery: Annotated[Gallery, Depends(listened)], tagger: TheTagger
) -> AsyncIterator[ServerSentEvent]:
    """Send all that there is, then what changes; `news` of `Gallery` is an event's content."""
    gallery.streams += 1
    try:
        seen = 0
        while True:
            news, seen = gallery.news(seen), gallery.version
            yield ServerSentEvent(event="news", data=news)
            while not await gallery.change(seen, TICK_S):
                if gallery.silence_s() > SILENCE_S:
                    await tagger.explain(gallery)
            await asyncio.sleep(FRAME_S)
    finally:
        gallery.streams -= 1


@app.put("/galleries/{name}/labels")
async def relabel(labels: Labels, gallery: TheGallery, tagger: TheTagger) -> dict[str, int]:
    """Tag the whole gallery with other labels."""
    revision = gallery.relabel(labels)
    tagger.tag_again(gallery)
    return {"revision": revision}


@app.put("/galleries/{name}/pictures/{picture}", status_code=202)
async def upload(
    picture: UUID, request: Request, gallery: TheGallery, galleries: AllGalleries, tagger: TheTagger
) -> None:
    """Add a picture; again with the same id replaces it."""
    data = await request.body()
    with galleries.room_for(len(data)) as has_room:
        if not has_room:
            sentence = "There is no room for more pictures at the moment."
            raise HTTPException(503, {"code": "BUSY", "sentence": sentence})
        await _add(gallery, tagger, picture, await tagger.upload(data))


@app.put("/galleries/{name}/pictures/{picture}/url", status_code=202)
async def add_url(
    picture: UUID, url: Annotated[str, Body(embed=True)], gallery: TheGallery, tagger: TheTagger
) -> None:
    """Add a picture from the web."""
    await _add(gallery, tagger, picture, web_picture(url.strip()))


@app.delete("/galleries/{name}/pictures/{picture}", status_code=204)
async def remove(picture: UUID, gallery: TheGallery, tagger: TheTagger) -> None:
    """Remove a picture, and delete its upload."""
    if removed := gallery.remove(str(picture)):
        await tagger.discard(removed)


@app.post("/galleries/{name}/search")
async def search(query: Query, gallery: TheGallery, finder: TheFinder) -> dict[str, Any]:
    """Find the pictures that are nearest to a text or to one of them."""
    return {"hits": await finder.find(gallery, query)}


async def _add(gallery: Gallery, tagger: Tagger, picture_id: UUID, picture: Picture) -> None:
    name = str(picture_id)
    replaced = gallery.remove(name)
    if len(gallery.pictures) >= MAX_PICTURES:
        await tagger.discard(picture)
        sentence = f"A gallery has at most {MAX_PICTURES:,} pictures. Remove some."
        raise HTTPException(409, {"code": "GALLERY_FULL", "sentence": sentence})
    gallery.put(name, picture)
    tagger.tag(gallery, [name])
    if replaced:
        await tagger.discard(replaced)


@app.exception_handler(HTTPException)
async def refused(_: Request, error: HTTPException) -> Response:
    """An error is an object with a code and a sentence."""
    return JSONResponse(error.detail, error.status_code, error.headers)


@app.exception_handler(RequestValidationError)
async def malformed(request: Request, _: RequestValidationError) -> Response:
    """The page sends nothing of the kind."""
    labels = f"Give 1 to {MAX_LABELS} different labels of at most {MAX_LABEL_CHARS} characters."
    is_labels = request.url.path.endswith("/labels")
    sentence = labels if is_labels else "The request is not valid. Reload the page."
    return JSONResponse({"code": "INVALID_REQUEST", "sentence": sentence}, 422)


@app.exception_handler(ClipWorkerError)
async def failed(_: Request, error: ClipWorkerError) -> Response:
    """What may succeed later is answered with 503, so the page tries again."""
    return JSONResponse(problem(error), 503 if isinstance(error, TemporaryError) else 422)
