"""Images in object stores, on fsspec's memory file system and on broken ones."""

from __future__ import annotations

import asyncio
import sys

import fsspec
import pytest
from fsspec.asyn import AsyncFileSystem
from support.failure import code_of, failure_of

from clip_worker.errors import ImageUnavailableError, TemporaryError
from worker.sources import Fetcher, FetchLimits, FetchPolicy


def fetcher(*schemes: str, **limits: float):
    return Fetcher(FetchPolicy(object_store_schemes=schemes), FetchLimits(**limits))


@pytest.fixture
def bucket():
    """Writes objects into the memory file system, and removes them after the test."""
    memory = fsspec.filesystem("memory")
    yield memory.pipe_file
    memory.store.clear()


@pytest.fixture
def register():
    """Registers a file system class under a scheme of its own."""

    def registered(scheme, **methods: object):
        cls = type(scheme, (AsyncFileSystem,), {"protocol": scheme, "cachable": False, **methods})
        fsspec.register_implementation(scheme, cls, clobber=True)
        return f"{scheme}://bucket/cat.jpg"

    return registered


def test_an_object_is_read(bucket):
    bucket("/bucket/cat.jpg", b"picture")
    bucket("/bucket/empty", b"")

    assert fetcher("memory").fetch("memory://bucket/cat.jpg") == b"picture"
    assert fetcher("memory").fetch("memory://bucket/empty") == b""


@pytest.mark.parametrize(
    ("scheme", "uri", "code"),
    [
        ("s3", "memory://bucket/cat.jpg", "UNSUPPORTED_SCHEME"),
        ("memory", "memory://bucket/absent", "FETCH_404"),
        ("memory", "memory://bucket", "FETCH_404"),
        ("memory", f"memory://a::file://{__file__}", "BAD_URI"),
        ("file", f"file://{__file__}", "FILE_OUTSIDE_ROOTS"),
        ("nonsense", "nonsense://bucket/cat.jpg", "UNSUPPORTED_SCHEME"),
    ],
    ids=[
        *("a scheme that is not listed", "a missing object", "a bucket", "chained locations"),
        *("a scheme that fsspec must not open", "a listed scheme that fsspec does not know"),
    ],
)
def test_other_uris_are_rejected(bucket, scheme, uri, code):
    bucket("/bucket/cat.jpg", b"picture")

    assert code_of(fetcher(scheme).fetch, uri) == code


def test_the_size_limit_holds_for_objects(bucket):
    bucket("/full", bytes(10))
    bucket("/over", bytes(11))

    assert fetcher("memory", max_bytes=10).fetch("memory://full") == bytes(10)
    assert code_of(fetcher("memory", max_bytes=10).fetch, "memory://over") == "FETCH_TOO_LARGE"


@pytest.mark.parametrize(
    ("scheme", "module", "extra"),
    [
        ("s3", "s3fs", "s3"),
        ("gs", "gcsfs", "gcs"),
        ("az", "adlfs", "azure"),
        ("az", "fsspec", "azure"),
    ],
)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    monkeypatch, scheme, module, extra
):
    monkeypatch.setitem(sys.modules, module, None)

    failure = failure_of(Fetcher().fetch, f"{scheme}://bucket/cat.jpg")

    assert failure.code == "UNSUPPORTED_SCHEME"
    assert f'pip install "clip-worker[{extra}]"' in failure.message
    assert isinstance(failure.__cause__, ImportError)


class StoresOwnError(Exception):
    """An error of a store's library, which may carry an HTTP status."""

    def __init__(self, **attributes: object) -> None:
        super().__init__("failed")
        vars(self).update(attributes)


def response(status):
    return StoresOwnError(response={"ResponseMetadata": {"HTTPStatusCode": status}})


@pytest.mark.parametrize(
    ("lower", "error", "code"),
    [
        (FileNotFoundError("gone"), ImageUnavailableError, "FETCH_404"),
        (IsADirectoryError("folder"), ImageUnavailableError, "FETCH_404"),
        (PermissionError("denied"), ImageUnavailableError, "FETCH_403"),
        (ConnectionResetError("reset"), TemporaryError, "FETCH_OBJECT_STORE"),
        (StoresOwnError(), TemporaryError, "FETCH_OBJECT_STORE"),
        (response(400), ImageUnavailableError, "FETCH_400"),
        (response(503), TemporaryError, "FETCH_OBJECT_STORE"),
        (StoresOwnError(response="no dictionary"), TemporaryError, "FETCH_OBJECT_STORE"),
        (StoresOwnError(status_code=409), ImageUnavailableError, "FETCH_409"),
        (StoresOwnError(code=416), ImageUnavailableError, "FETCH_416"),
        (StoresOwnError(code=429), TemporaryError, "FETCH_OBJECT_STORE"),
        (StoresOwnError(code="SlowDown"), TemporaryError, "FETCH_OBJECT_STORE"),
        (StoresOwnError(status=200), TemporaryError, "FETCH_OBJECT_STORE"),
    ],
    ids=str,
)
def test_errors_of_a_store_are_translated_by_their_type_and_status(register, lower, error, code):
    async def broken(self, path, **options: object):
        raise lower

    failure = failure_of(fetcher("broken").fetch, register("broken", _info=broken))

    assert (type(failure), failure.code, failure.__cause__) == (error, code, lower)


def test_a_store_that_never_answers_is_given_up(register):
    async def silent(self, path, **options: object):
        await asyncio.Event().wait()

    failure = failure_of(fetcher("silent", total_s=0.05).fetch, register("silent", _info=silent))

    assert (type(failure), failure.code) == (TemporaryError, "FETCH_TIMEOUT")
    assert isinstance(failure.__cause__, TimeoutError)
