"""`clip-worker search`: asks the workers, or a store of embeddings itself."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clip_worker.contract import parse
from clip_worker.contract.search import DEFAULT_HITS, SearchHit, SearchRequest
from worker.cli.open_client import open_client
from worker.cli.options import json_lines_option, queue_option, redis_url_option, text
from worker.cli.output.table import printable
from worker.cli.output.usage_error import WrongInputError
from worker.cli.retag.options import model_option, space_option

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command("search")
@click.argument("query", required=False, type=text, metavar="[TEXT]")
@click.option("--image", type=text, metavar="FILE|URL", help="Find images that resemble this one.")
@click.option("-k", type=int, default=DEFAULT_HITS, show_default=True, help="Images to print.")
@click.option(
    "--store",
    type=text,
    metavar="URL",
    help="Search this store with the model in this process, without workers.",
)
@model_option
@space_option
@json_lines_option
@redis_url_option
@queue_option
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    metavar="SECONDS",
    show_default=True,
    help="Longest wait for the workers' answer.",
)
def command(  # noqa: PLR0913  # one argument per option
    query: str | None,
    *,
    image: str | None,
    k: int,
    store: str | None,
    model: str | None,
    space: str | None,
    as_json: bool,
    redis_url: str,
    queue: str,
    timeout_s: float,
) -> None:
    """Find stored images that fit TEXT, or that resemble another image.

    Prints a line per image: its cosine, and the URI that it was last classified under. The workers
    answer, and need CLIP_WORKER_EMBEDDING_STORE; with --store no worker is needed. The text is
    encoded as it is: "a photo of a red kite" may find more than "red kite".
    """
    parse(SearchRequest, _given(text=query, image=image and "data:,", k=k))
    if store is not None:
        hits = _in_store(store, query, image, k, model=model, space=space)
    else:
        hits = _of_workers(query, image, k, redis_url, queue, timeout_s)
    for hit in hits:
        line = json.dumps(hit.model_dump()) if as_json else f"{hit.cosine:6.3f}  {hit.image}"
        click.echo(line if as_json else printable(line))


def _given(**arguments: Any) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


def _of_workers(  # noqa: PLR0913, PLR0917  # as the command's
    query: str | None, image: str | None, k: int, redis_url: str, queue: str, timeout_s: float
) -> Sequence[SearchHit]:
    with open_client(redis_url, queue) as client:
        if image is not None and (path := Path(image)).is_file():
            image = client.upload(path)
        return client.search(query, image=image, k=k).get(timeout=timeout_s).hits


def _in_store(  # noqa: PLR0913  # as the command's
    store: str,
    query: str | None,
    image: str | None,
    k: int,
    *,
    model: str | None,
    space: str | None,
) -> Sequence[SearchHit]:
    from worker.cli.labels.engine import loaded_engine
    from worker.cli.retag.engine_errors import engine_errors
    from worker.cli.retag.space import find_space
    from worker.embeddings.open import open_store
    from worker.runtime.search import Searcher

    if image is not None and not Path(image).is_file():
        raise WrongInputError(
            f"{printable(image)} is not a file; with --store the image must be a file on this "
            "machine, or leave --store out and let the workers fetch it."
        )
    with closing(open_store(store)) as opened, loaded_engine(model) as engine, engine_errors():
        searcher = Searcher(engine, opened, find_space(opened, engine, space))
        if query is not None:
            feature = searcher.text_feature(query)
        else:
            feature = engine.encode_pixels([engine.prepare(str(image))])[0].numpy()
        found = searcher.nearest(feature, k)
    return [SearchHit.model_validate(hit) for hit in found["hits"]]
