"""A model of the host: from what an image costs each part to images a second, and what binds.

Every part has a capacity, in seconds of work a second, and a cost of an image. It allows
capacity / cost images a second, and the least of these is the forecast. Parts wait for each other
in no other way, because all of them work on batches and queues stand between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

IN_FLIGHT = 2  # batches of a worker, each gathered by a thread of its own


@dataclass(frozen=True)
class Figure:
    """A number and where it comes from.

    Attributes:
        value: In the unit of its use.
        source: `measured here`, `estimate` or `published`.
        note: The machine and command of a measurement, or the publisher of a figure.
    """

    value: float
    source: str
    note: str = ""


@dataclass(frozen=True)
class Part:
    """Something that every image passes.

    Attributes:
        name: For the table.
        cost_s: Of an image, in seconds of one unit of it.
        units: How many there are: cores, workers, 1.
        source: Of the cost.
        note: More about the source.
    """

    name: str
    cost_s: float
    units: float
    source: str
    note: str = ""

    @property
    def allows(self) -> float:
        """Images a second."""
        return self.units / self.cost_s


@dataclass(frozen=True)
class Host:
    """What the forecast is for.

    Attributes:
        cores: Of the host.
        workers: Model processes.
        encoder_images_per_s: Of the GPU; None where the encoder runs on the cores.
        encoder_cpu_s: Processor time of an image's forward pass on the cores; 0 on a GPU.
        preparation_s: Processor time of an image in a preparation process.
        model_s: Processor time of an image in the model process, besides the forward pass.
        gather_s: Processor time to copy its pixels into a batch, which needs no GIL.
        redis_s: Processor time of an image in Redis, which runs on the same host.
        image_bytes: Of an encoded image, which comes through the network; 0 for local files.
        network_bytes_per_s: Of the host.
    """

    cores: int
    workers: int
    encoder_images_per_s: Figure | None
    encoder_cpu_s: Figure
    preparation_s: Figure
    model_s: Figure
    gather_s: Figure
    redis_s: Figure
    image_bytes: Figure
    network_bytes_per_s: Figure

    @property
    def cpu_s(self) -> float:
        """Processor time of an image on the host, all processes together."""
        return (
            self.preparation_s.value
            + self.model_s.value
            + self.gather_s.value
            + self.redis_s.value
            + self.encoder_cpu_s.value
        )

    def parts(self) -> list[Part]:
        """All that bound the rate."""
        found = []
        if self.encoder_images_per_s:
            encoder = self.encoder_images_per_s
            found.append(Part("encoder (GPU)", 1 / encoder.value, 1, encoder.source, encoder.note))
        found.append(
            Part("cores, all processes together", self.cpu_s, self.cores, "the sum of theirs")
        )
        found += [
            _part("preparation processes", self.preparation_s, self.cores),
            _part("encoder (cores)", self.encoder_cpu_s, self.cores),
            _part("model processes, one core each", self.model_s, self.workers),
            _part("gathering batches", self.gather_s, IN_FLIGHT * self.workers),
            _part("Redis, one core", self.redis_s, 1),
        ]
        network_s = self.image_bytes.value / self.network_bytes_per_s.value
        found.append(Part("network", network_s, 1, self.image_bytes.source, self.image_bytes.note))
        return [part for part in found if part.cost_s > 0]

    def binding(self) -> Part:
        """The part that allows the least."""
        return min(self.parts(), key=lambda part: part.allows)

    def needed(self, images_per_s: float) -> tuple[float, float]:
        """Cores and model processes that this rate takes, if nothing else binds."""
        return images_per_s * self.cpu_s, images_per_s * self.model_s.value


def _part(name: str, cost_s: Figure, units: float) -> Part:
    return Part(name, cost_s.value, units, cost_s.source, cost_s.note)


def table(host: Host) -> str:
    """Every part, with its use at the forecast."""
    forecast = host.binding().allows
    lines = [
        "| part | an image costs | of | allows, images/s | busy at the forecast | source |",
        "|---|---|---|---|---|---|",
    ]
    for part in host.parts():
        source = f"{part.source}: {part.note}" if part.note else part.source
        use = forecast / part.allows
        lines.append(
            f"| {part.name} | {duration(part.cost_s)} | {part.units:g} | {part.allows:,.0f} | "
            f"{'**' if part == host.binding() else ''}{use:.0%}"
            f"{'**' if part == host.binding() else ''} | {source} |"
        )
    return "\n".join(lines)


def sentences(host: Host, targets: Sequence[float]) -> str:
    """The forecast, what binds, and what the targets would take."""
    binding = host.binding()
    lines = [f"Forecast: {binding.allows:,.0f} images/s. What binds: {binding.name}."]
    for target in targets:
        cores, workers = host.needed(target)
        lines.append(
            f"{target:,.0f} images/s take {cores:.1f} such cores and {workers:.1f} model processes."
        )
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """In a unit that suits it.

    >>> duration(0.0025), duration(2e-5)
    ('2.50 ms', '20.0 µs')
    """
    return f"{1e3 * seconds:.2f} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.1f} µs"
