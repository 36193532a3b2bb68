"""What most tests of the pipeline need: a tiny engine, and pipelines that end with the test."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from support.pipeline_bench import Bench
from support.tiny_clip import tiny_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clip_engine.engine import Engine


@pytest.fixture(scope="package")
def engine() -> Engine:
    return tiny_engine(buckets=(8,))


@pytest.fixture
def make(engine: Engine) -> Iterator[Callable[..., Bench]]:
    """Makes a pipeline over the tiny engine, with the collaborators that are given."""
    with ExitStack() as stack:

        def bench(kind: type[Bench] = Bench, **collaborators: Any) -> Bench:
            made = kind(engine, **collaborators)
            stack.callback(made.close)
            return made

        yield bench


@pytest.fixture
def bench(make: Callable[..., Bench]) -> Bench:
    return make()
