"""What a warm-up finds out, and how batch sizes are measured on a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

MEASURED_SIZES = (32, 64, 128, 256, 512)
MEASURING_S = 6.0  # for all sizes together
SIZE_S = 0.1  # for each size
MOST_ROUNDS = 20
RUNS = 10  # forward passes that measuring a size takes, with recording it
GOOD_SHARE = 0.95  # of the best rate


@dataclass(frozen=True)
class WarmUp:
    """The result of a warm-up.

    Attributes:
        seconds: How long it took.
        graphs: Batch sizes whose CUDA graphs were recorded, ascending.
        images_per_s: Images that the image tower encodes a second, by batch size; empty where the
            batch size was not measured.
    """

    seconds: float
    graphs: tuple[int, ...] = ()
    images_per_s: dict[int, float] = field(default_factory=dict)


def measure_sizes(
    rate_of: Callable[[int], float | None],
    sizes: Iterable[int],
    *,
    longest_s: float = MEASURING_S,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[int, float]:
    """Measure batch sizes until one doesn't fit, or the next would take too long.

    Args:
        rate_of: Maps a batch size to images a second; None if it doesn't fit.
        sizes: Ascending.
        longest_s: For all of them together, in seconds.
        clock: Seconds, monotonic.

    Returns:
        Images a second by batch size.
    """
    rates: dict[int, float] = {}
    start = clock()
    for size in sizes:
        if rates:
            expected_s = RUNS * size / rates[max(rates)]
            if clock() - start + expected_s > longest_s:
                break
        rate = rate_of(size)
        if rate is None:
            break
        rates[size] = rate
    return rates


def images_per_s(
    run: Callable[[], object],
    size: int,
    synchronize: Callable[[], object],
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Images a second of batches that are enqueued one after the other.

    Args:
        run: Enqueues a batch.
        size: Images in a batch.
        synchronize: Waits until all batches have been computed.
        clock: Seconds, monotonic.
    """

    def seconds(rounds: int) -> float:
        start = clock()
        for _ in range(rounds):
            run()
        synchronize()
        return clock() - start

    seconds(1)
    rounds = max(1, min(MOST_ROUNDS, int(SIZE_S / seconds(1))))
    return size * rounds / seconds(rounds)


def smallest_good(rates: dict[int, float]) -> int:
    """The smallest batch size that is nearly as fast as the fastest.

    >>> smallest_good({32: 9_000.0, 64: 16_000.0, 128: 19_500.0, 256: 20_000.0})
    128
    """
    best = max(rates.values())
    return min(size for size, rate in rates.items() if rate >= GOOD_SHARE * best)
