"""Tag every picture of a list, in bulk, with bounded memory; progress survives a restart.

Reads one URI a line, appends one JSON object a line, and leaves out what the output holds already.

python examples/backfill.py uris.txt tags.jsonl --labels cat,dog,bird
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from clip_worker import Client


def main() -> None:
    """Tag what is not tagged yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("uris", type=Path)
    parser.add_argument("tags", type=Path)
    parser.add_argument("--labels", required=True)
    parser.add_argument("--redis-url", default="redis://localhost:6379/0")
    arguments = parser.parse_args()

    done = finished(arguments.tags)
    left = [uri for uri in arguments.uris.read_text().split() if uri not in done]
    with Client(arguments.redis_url) as client, arguments.tags.open("a") as tags:
        for index, outcome in client.classify_many(left, arguments.labels.split(","), k=3):
            answer = outcome.model_dump(mode="json", exclude_none=True)
            tags.write(json.dumps({"uri": left[index], **answer}) + "\n")


def finished(tags: Path) -> set[str]:
    """URIs that an earlier run has written, but for those whose failure may pass."""
    return {
        line["uri"] for line in lines(tags) if line.get("error", {}).get("type") != "TemporaryError"
    }


def lines(path: Path) -> Iterator[dict[str, dict[str, str]]]:
    """The objects of a JSON Lines file that may not exist."""
    if path.exists():
        yield from map(json.loads, path.read_text().splitlines())


if __name__ == "__main__":
    main()
