"""Short names for items: in the journal, and as ids of their tasks."""

from __future__ import annotations

import hashlib

_BYTES = 16


def digest_of(key: str) -> bytes:
    """The digest of an item's key, 16 bytes."""
    # A file's name may have bytes that are not UTF-8.
    return hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=_BYTES).digest()
