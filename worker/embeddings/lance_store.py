"""Keeps embeddings in a Lance dataset, on disk or in a bucket: for millions of images.

Each space is a table. A worker's batches are new files of it, so that any number of processes can
write at the same time; now and then one of them merges the small files, and builds or extends the
indexes.

Axes: N embeddings, D numbers each.
"""

from __future__ import annotations

import itertools
import logging
import threading
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_worker.errors import InvalidRequestError, ServiceError, TemporaryError
from clip_worker.quoting import quote, without_password
from worker.embeddings.lance_rows import NAME, batch_of, features_of, schema_of, space_of, table_of
from worker.embeddings.store import (
    LEAST_LENGTH,
    MOST_LENGTH,
    Embedding,
    EmbeddingBatch,
    Hit,
    Space,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lancedb.db import DBConnection
    from lancedb.table import Table
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

CODE = "EMBEDDING_STORE"
MOST_AT_ONCE = 1024  # contents per query
MAINTENANCE_PUTS = 256  # calls of `put` between two times that small files are merged
INDEX_ROWS = 100_000  # from which an index is built: comparing fewer takes less than 0.2 s
REFINE = 10  # times k candidates of the index are compared by their stored embeddings
PROBES = 32  # partitions of the index that are searched
MOST_ROWS = 2**32 - 1  # that a query can ask for
MOST_REASON_CHARS = 200


class LanceStore:
    """An `EmbeddingStore` in a Lance dataset. Threads and processes may share it.

    Args:
        place: Path of a folder, or a URL that Lance can write to, such as `s3://bucket/embeddings`.
        index_rows: Embeddings from which an index is built.
        maintenance_puts: Calls of `put` between two times that `maintain` is called.
    """

    def __init__(
        self,
        place: str,
        *,
        index_rows: int = INDEX_ROWS,
        maintenance_puts: int = MAINTENANCE_PUTS,
    ) -> None:
        self._place = place
        self._index_rows = index_rows
        self._maintenance_puts = maintenance_puts
        self._puts = itertools.count(1)
        self._lock = threading.Lock()
        self._database: DBConnection | None = None
        self._tables: dict[Space, Table] = {}

    def get(self, space: Space, contents: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        """Features float32 `[D]` of those contents that are stored, by an index of contents.

        Damaged ones are taken for missing.
        """
        found: dict[str, NDArray[np.float32]] = {}
        with self._translated():
            table = self._table(space)
            for begin in range(0, len(contents) if table else 0, MOST_AT_ONCE):
                part = contents[begin : begin + MOST_AT_ONCE]
                rows = table.search().where(_among(part)).select(["content", "feature"]).to_arrow()
                features, are_sound = _normalised(features_of(rows, space))
                sound = itertools.compress(rows["content"].to_pylist(), are_sound)
                found |= zip(sound, features, strict=True)
        return found

    def put(self, space: Space, embeddings: Sequence[Embedding]) -> None:
        """Store embeddings in one new file."""
        if not embeddings:
            return
        with self._translated():
            table = self._table(space, create=True)
            insert = table.merge_insert("content").when_matched_update_all()
            insert.when_not_matched_insert_all().execute(batch_of(embeddings, space))
        if next(self._puts) % self._maintenance_puts == 0:
            self.maintain(space)

    def count(self, space: Space) -> int:
        """How many are stored."""
        with self._translated():
            table = self._table(space)
            return int(table.count_rows()) if table else 0

    def spaces(self) -> Sequence[Space]:
        """The spaces of which something is stored."""
        with self._translated():
            database = self._connected()
            names = [name for name in _names(database) if NAME.fullmatch(name)]
            found = [space_of(database.open_table(name).schema) for name in names]
        return [space for space in found if space and self.count(space)]

    def scan(
        self, space: Space, position: str | None = None, size: int = 65_536
    ) -> Iterator[EmbeddingBatch]:
        """Yield all embeddings as they are stored now, each content once.

        A position names the dataset's version, so a scan that continues later sees the same
        embeddings; versions are kept for 7 days.

        Raises:
            InvalidRequestError: `BAD_POSITION`.
        """
        with self._translated():
            if not self._table(space):
                return
            table = self._connected().open_table(table_of(space))  # of its own, for a fixed version
            version, done = (table.version, 0) if position is None else _parsed(position)
            _check_out(table, version)
            columns = ["content", "image", "feature"]
            rows = table.search().select(columns).offset(done).limit(MOST_ROWS).to_batches(size)
            for part in rows:
                done += len(part)
                yield EmbeddingBatch(
                    part["content"].to_pylist(),
                    part["image"].to_pylist(),
                    features_of(part, space),
                    f"{version}:{done}",
                )

    def search(self, space: Space, feature: NDArray[np.float32], k: int) -> Sequence[Hit]:
        """The k nearest images by cosine; by the index if there is one, else by comparing all."""
        with self._translated():
            table = self._table(space)
            if table is None:
                return []
            query = table.search(feature, vector_column_name="feature").distance_type("cosine")
            query = query.nprobes(PROBES).refine_factor(REFINE).limit(k)
            rows = query.select(["content", "image", "_distance"]).to_list()
        return [
            Hit(row["image"], row["content"], float(np.clip(1 - row["_distance"], -1, 1)))
            for row in rows
        ]

    def maintain(self, space: Space) -> None:
        """Merge small files, extend the indexes, and build that of the embeddings once it pays."""
        from lancedb.index import IvfSq

        try:
            with self._translated():
                if (table := self._table(space)) is None:
                    return
                table.optimize()
                indexed = {column for index in table.list_indices() for column in index.columns}
                if "feature" not in indexed and table.count_rows() >= self._index_rows:
                    table.create_index("feature", config=IvfSq(distance_type="cosine"))
        except TemporaryError as error:  # another process wrote meanwhile: the next time will do
            logger.info("Small files of embeddings are not merged now: %s", error)

    def close(self) -> None:
        """Release the dataset; again does nothing."""
        with self._lock:
            self._tables.clear()
            self._database = None

    def _connected(self) -> DBConnection:
        try:
            import lancedb
        except ModuleNotFoundError as error:
            raise ServiceError(
                "A store of embeddings in Lance needs the module lancedb, which is not installed; "
                'pip install "clip-worker[lancedb]".',
                "NO_LANCEDB",
            ) from error
        with self._lock:
            if self._database is None:
                self._database = lancedb.connect(
                    self._place, read_consistency_interval=timedelta(0)
                )
            return self._database

    def _table(self, space: Space, *, create: bool = False) -> Any:  # Table, or None
        """The table of a space; None if there is none."""
        if (table := self._tables.get(space)) is not None:
            return table
        database = self._connected()
        name = table_of(space)
        if name not in _names(database):
            if not create:
                return None
            _create(database, name, space)
        table = self._tables[space] = database.open_table(name)
        return table

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, ValueError, OSError) as error:  # all that Lance raises
            reason = (str(error).splitlines() or [type(error).__name__])[0][:MOST_REASON_CHARS]
            raise TemporaryError(
                f"The store of embeddings at {quote(without_password(self._place))} can't be used: "
                f"{reason}; check that it can be reached and written.",
                CODE,
            ) from error


def _create(database: DBConnection, name: str, space: Space) -> None:
    """Create a space's table, unless another process does so at the same time."""
    from lancedb.index import BTree

    table = database.create_table(name, schema=schema_of(space), exist_ok=True)
    if not table.list_indices():
        table.create_index("content", config=BTree())


def _names(database: DBConnection) -> set[str]:
    names: set[str] = set()
    page: str | None = None
    while True:
        response = database.list_tables(page_token=page)
        names.update(response.tables)
        if not (page := response.page_token):
            return names


def _among(contents: Sequence[str]) -> str:
    """A condition on contents, which are hexadecimal: anything else must not get into SQL."""
    return f"content IN ({', '.join(repr(bytes.fromhex(each).hex()) for each in contents)})"


def _normalised(features: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The sound ones of `[N, D]` features, of length 1, and which of the N they are."""
    exact: NDArray[np.float32] = features.astype(np.float32)
    lengths = np.linalg.norm(exact, axis=1)
    are_sound = (lengths > LEAST_LENGTH) & (lengths < MOST_LENGTH)  # also if NaN
    return exact[are_sound] / lengths[are_sound, None], are_sound


def _parsed(position: str) -> tuple[int, int]:
    version, _, done = position.partition(":")
    if not (version + done).isascii() or not version.isdigit() or not done.isdigit():
        raise InvalidRequestError(
            f"{quote(position)} is not a position of a scan of embeddings in Lance; "
            "start from the beginning.",
            "BAD_POSITION",
        )
    return int(version), int(done)


def _check_out(table: Table, version: int) -> None:
    try:
        table.checkout(version)
    except ValueError as error:
        raise InvalidRequestError(
            f"The scan began with version {version} of the embeddings, which is no longer kept; "
            "start from the beginning.",
            "BAD_POSITION",
        ) from error
