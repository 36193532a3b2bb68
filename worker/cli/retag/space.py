"""Finds the embeddings of a model in a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.cli.output.usage_error import WrongInputError
from worker.embeddings.space import space_of

if TYPE_CHECKING:
    from clip_engine.engine import Engine
    from worker.embeddings.store import EmbeddingStore, Space


def find_space(store: EmbeddingStore, engine: Engine, preprocessing: str | None = None) -> Space:
    """The space of a model's embeddings in a store.

    Workers may have run it with another preprocessing or precision than this process would.

    Args:
        store: The store.
        engine: The model.
        preprocessing: That of the space; None for this process's, or the only one.

    Raises:
        WrongInputError: There is none, or there are several.
        TemporaryError: `EMBEDDING_STORE`.
    """
    own = space_of(engine)
    of_model = [
        space
        for space in store.spaces()
        if (space.model_digest, space.dimensions) == (own.model_digest, own.dimensions)
    ]
    named = [space for space in of_model if space.preprocessing == preprocessing]
    found = named if preprocessing else [own] if own in of_model else of_model
    if len(found) == 1:
        return found[0]
    names = ", ".join(space.preprocessing for space in of_model)
    raise WrongInputError(
        f"The store has no embeddings of the model {engine.identity.name!r}; check --model and "
        "--store, and that the workers have CLIP_WORKER_EMBEDDING_STORE."
        if not of_model
        else f"The store has embeddings of {names}; name one of them with --space."
    )
