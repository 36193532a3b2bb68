"""The settings that `tune` varies."""

from __future__ import annotations

from dataclasses import dataclass, fields

from worker.variables import ENV_PREFIX


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings that differ from those of the environment; None where they don't.

    Attributes:
        precision: `CLIP_WORKER_PRECISION`.
        max_batch: `CLIP_WORKER_MAX_BATCH`.
        replicas: `CLIP_WORKER_REPLICAS`, of each worker.
        preparation_processes: `CLIP_WORKER_PREPARATION_PROCESSES`, of each worker.
        workers: `CLIP_WORKER_WORKERS`.
    """

    precision: str | None = None
    max_batch: int | None = None
    replicas: int | None = None
    preparation_processes: int | None = None
    workers: int | None = None

    def variables(self) -> dict[str, str]:
        """The environment variables that differ.

        >>> Configuration(precision="bfloat16", max_batch=16).variables()
        {'CLIP_WORKER_PRECISION': 'bfloat16', 'CLIP_WORKER_MAX_BATCH': '16'}
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            ENV_PREFIX + name.upper(): str(value)
            for name, value in values.items()
            if value is not None
        }

    def __str__(self) -> str:
        """What differs, in words.

        >>> str(Configuration(precision="bfloat16", replicas=1))
        'bfloat16, 1 replica'
        """
        parts = [self.precision or ""]
        parts.append(f"batch {self.max_batch}" if self.max_batch else "")
        parts.append(_counted(self.replicas, "replica", "replicas"))
        parts.append(_counted(self.preparation_processes, "process", "processes"))
        parts.append(_counted(self.workers, "worker", "workers"))
        return ", ".join(part for part in parts if part)

    def named(self, base: str) -> str:
        """What differs, or the name of the settings as they are."""
        return str(self) or base


def _counted(number: int | None, one: str, many: str) -> str:
    return "" if number is None else f"{number} {one if number == 1 else many}"
