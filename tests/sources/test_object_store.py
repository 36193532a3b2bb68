"""Pictures in object stores, on fsspec's memory file system and on broken ones."""

from __future__ import annotations

import asyncio
import sys

import fsspec
import pytest
from fsspec.asyn import AsyncFileSystem

from worker.errors import ImageUnavailableError, InvalidRequestError, TemporaryError
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


def test_a_scheme_that_is_not_listed_is_unsupported(bucket):
    bucket("/bucket/cat.jpg", b"picture")

    with pytest.raises(InvalidRequestError) as caught:
        fetcher("s3").fetch("memory://bucket/cat.jpg")

    assert caught.value.code == "UNSUPPORTED_SCHEME"


def test_listing_file_or_http_does_not_open_them_through_fsspec(tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")

    with pytest.raises(ImageUnavailableError) as caught:
        fetcher("file", "http").fetch(f"file://{tmp_path}/secret")

    assert caught.value.code == "FILE_OUTSIDE_ROOTS"


@pytest.mark.parametrize("uri", ["memory://bucket/absent", "memory://bucket"])
def test_a_missing_object_or_a_bucket_is_not_found(bucket, uri):
    bucket("/bucket/cat.jpg", b"picture")

    with pytest.raises(ImageUnavailableError) as caught:
        fetcher("memory").fetch(uri)

    assert caught.value.code == "FETCH_404"


def test_the_cap_holds_for_objects(bucket):
    bucket("/full", bytes(10))
    bucket("/over", bytes(11))

    assert fetcher("memory", max_bytes=10).fetch("memory://full") == bytes(10)
    with pytest.raises(ImageUnavailableError) as caught:
        fetcher("memory", max_bytes=10).fetch("memory://over")
    assert caught.value.code == "FETCH_TOO_LARGE"


def test_a_chained_location_is_refused(bucket, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")

    with pytest.raises(InvalidRequestError, match="chains") as caught:
        fetcher("memory").fetch(f"memory://a::file://{tmp_path}/secret")

    assert caught.value.code == "BAD_URI"


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

    with pytest.raises(InvalidRequestError) as caught:
        Fetcher().fetch(f"{scheme}://bucket/cat.jpg")

    assert caught.value.code == "UNSUPPORTED_SCHEME"
    assert f'pip install "clip-worker[{extra}]"' in str(caught.value)
    assert isinstance(caught.value.__cause__, ImportError)


def test_a_listed_scheme_that_fsspec_does_not_know_is_unsupported():
    with pytest.raises(InvalidRequestError, match="CLIP_WORKER_OBJECT_STORE_SCHEMES") as caught:
        fetcher("nonsense").fetch("nonsense://bucket/cat.jpg")

    assert caught.value.code == "UNSUPPORTED_SCHEME"


@pytest.mark.parametrize(
    ("lower", "error", "code"),
    [
        (FileNotFoundError("gone"), ImageUnavailableError, "FETCH_404"),
        (IsADirectoryError("folder"), ImageUnavailableError, "FETCH_404"),
        (PermissionError("denied"), ImageUnavailableError, "FETCH_403"),
        (ConnectionResetError("reset"), TemporaryError, "FETCH_OBJECT_STORE"),
        (RuntimeError("a store's own error"), TemporaryError, "FETCH_OBJECT_STORE"),
    ],
)
def test_what_a_store_raises_is_translated(register, lower, error, code):
    async def broken(self, path, **options: object):
        raise lower

    uri = register("broken", _info=broken)

    with pytest.raises(error) as caught:
        fetcher("broken").fetch(uri)

    assert caught.value.code == code
    assert caught.value.__cause__ is lower


@pytest.mark.parametrize(
    ("names", "value", "error", "code"),
    [
        ("response", {"ResponseMetadata": {"HTTPStatusCode": 400}}, ImageUnavailableError, "400"),
        ("response", {"ResponseMetadata": {"HTTPStatusCode": 503}}, TemporaryError, "OBJECT_STORE"),
        ("response", "no dictionary", TemporaryError, "OBJECT_STORE"),
        ("status_code", 409, ImageUnavailableError, "409"),
        ("code", 416, ImageUnavailableError, "416"),
        ("code", 429, TemporaryError, "OBJECT_STORE"),
        ("code", "SlowDown", TemporaryError, "OBJECT_STORE"),
        ("status", 200, TemporaryError, "OBJECT_STORE"),
    ],
)
def test_a_stores_status_tells_what_may_pass_from_what_will_not(
    register, names, value, error, code
):
    class StoresOwnError(Exception):
        pass

    lower = StoresOwnError("said no")
    setattr(lower, names, value)

    async def broken(self, path, **options: object):
        raise lower

    uri = register("broken", _info=broken)

    with pytest.raises(error) as caught:
        fetcher("broken").fetch(uri)

    assert type(caught.value) is error
    assert caught.value.code == f"FETCH_{code}"


def test_a_store_that_never_answers_is_cut_off(register):
    async def silent(self, path, **options: object):
        await asyncio.Event().wait()

    uri = register("silent", _info=silent)

    with pytest.raises(TemporaryError) as caught:
        fetcher("silent", total_s=0.05).fetch(uri)

    assert caught.value.code == "FETCH_TIMEOUT"
    assert isinstance(caught.value.__cause__, TimeoutError)
