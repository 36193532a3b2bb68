"""A producer process of the end-to-end test: submits its share of tasks, prints their results.

Standard input: one JSON object a line, the keyword arguments of `Client.classify`.
Standard output: one JSON object a line, in the same order, the result.
"""

from __future__ import annotations

import json
import sys

from worker.client import Client

WAIT_S = 180.0


def main(redis_url: str) -> None:
    with Client(redis_url) as client:
        handles = [client.classify(**json.loads(line)) for line in sys.stdin]
        for handle in handles:
            print(handle.get(WAIT_S).model_dump_json())


if __name__ == "__main__":
    main(sys.argv[1])
