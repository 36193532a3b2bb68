"""What `open_store` says of a URL."""

from __future__ import annotations

import pytest

from clip_worker.errors import InvalidRequestError
from worker.embeddings.open import open_store


@pytest.mark.parametrize("url", ["ftp://me:secret@host", "redis://:a/secret@host", "x?k=secret"])
def test_what_is_no_store_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="is not the URL of a store") as caught:
        open_store(url)
    assert "secret" not in caught.value.message
