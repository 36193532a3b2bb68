"""The model of the host: its arithmetic, its figures, and what a run of the script replaces."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import check, costs, model
from benchmarks.gpu.host import Figure, Host, sentences, table
from benchmarks.gpu.served import Round

SCRIPT = Path(model.__file__)
SOURCES = {"measured", "measured here", "estimate", "published"}


def figure(value: float) -> Figure:
    return Figure(value, "measured", "here")


# 16 cores; 1 ms in all of which preparation is 0.7; a network of 100 images a second and core.
HOST = Host(
    cores=16,
    workers=2,
    encoder_images_per_s=figure(50_000.0),
    encoder_cpu_s=figure(0.0),
    preparation_s=figure(700e-6),
    model_s=figure(200e-6),
    gather_s=figure(0.0),
    redis_s=figure(100e-6),
    image_bytes=figure(1e5),
    network_bytes_per_s=figure(3e9),
)


@pytest.mark.parametrize(
    ("changes", "binds", "allows"),
    [
        ({}, "model processes, one core each", 10_000.0),  # 2 / 200 µs
        ({"workers": 8}, "Redis, one core", 10_000.0),  # 1 / 100 µs
        ({"cores": 4}, "cores, all processes together", 4_000.0),
        ({"encoder_images_per_s": figure(3_000.0)}, "encoder (GPU)", 3_000.0),
        ({"network_bytes_per_s": figure(1e8)}, "network", 1_000.0),
        (
            {"encoder_images_per_s": None, "encoder_cpu_s": figure(3e-3)},
            "cores, all processes together",
            4_000.0,
        ),
    ],
)
def test_the_part_that_allows_the_least_binds(
    changes: dict[str, Any], binds: str, allows: float
) -> None:
    part = replace(HOST, **changes).binding()
    assert part.name == binds
    assert part.allows == pytest.approx(allows)


def test_the_table_says_of_every_part_what_it_costs_and_where_that_is_from() -> None:
    lines = table(HOST).splitlines()
    assert len(lines) == 2 + 6  # all that cost something
    assert lines[4] == "| preparation processes | 700.0 µs | 16 | 22,857 | 44% | measured: here |"
    assert [line for line in lines if "**100%**" in line] == [
        "| model processes, one core each | 200.0 µs | 2 | 10,000 | **100%** | measured: here |"
    ]
    assert sentences(HOST, [20_000]).splitlines() == [
        "Forecast: 10,000 images/s. What binds: model processes, one core each.",
        "20,000 images/s take 20.0 such cores and 4.0 model processes.",
    ]


def test_every_figure_says_where_it_is_from() -> None:
    every = [one for kind in costs.load().values() for one in kind.values()]
    assert len(every) > 15
    for one in every:
        assert one["value"] > 0
        assert one["source"] in SOURCES
        assert one["note"]


@pytest.fixture
def forecast(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command in this process: its exit status, and what it printed."""

    def run(*options: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["model.py", *options])
        status = model.main()
        return status, *capsys.readouterr()

    return run


def test_an_unknown_gpu_is_refused_with_those_that_are_known(forecast: Any) -> None:
    status, _, error = forecast("--gpu", "H1000")
    assert status == 2
    assert error.startswith("Unknown matrix products, TFLOP/s 'H1000'; give one of H100, ")


def test_the_overview_is_the_forecast_of_each_case(forecast: Any) -> None:
    _, one, _ = forecast("--model", "ViT-L/14", "--workers", "2", "--cores", "8")
    _, all_of_them, _ = forecast("--overview", "--cores", "8")
    [rate] = re.findall(r"Forecast: ([\d,]+) images/s", one)
    assert f"| ViT-L/14 | 500x375 | 2 | {rate} |" in all_of_them
    assert all_of_them.count("\n| ViT") == 12


def test_what_a_run_has_measured_replaces_the_estimates(tmp_path: Path) -> None:
    # given a run on a GPU that the table doesn't have
    run = {
        "sections": {
            "device": {"figures": {"name": "H900", "cpu": "Fast"}},
            "encoder": {
                "figures": {
                    "ViT-B/32 float16": {"sizes": {"1": rates(10, 20), "64": rates(900, 1_000)}},
                    "ViT-B/32 bfloat16": {"sizes": {"64": rates(950, 930)}},
                    "RN50 options": {"channels_last": {"1": rates(1, 1)}},
                }
            },
            "decoding": {
                "figures": {
                    "500x375 simplejpeg": {"ms": 1.0, "all_cores_ms": 1.5},
                    "500x375 Pillow": {"ms": 2.0, "all_cores_ms": 2.5},
                }
            },
            "end-to-end": {
                "figures": {
                    "one: start": ["loading"],
                    "one, a": {"images": 1_000, "model_s": [0.1, 0.1], "redis_s": 0.05},
                    "one, b": {"images": 1_000, "model_s": [9.0], "redis_s": 9.0},
                }
            },
        }
    }
    before = costs.load()
    # when
    measured = costs.with_measured(before, run)
    costs.save(measured, tmp_path / "costs.json")
    # then the forecast is made of it
    host = costs.host_of(
        costs.load(tmp_path / "costs.json"),
        cores=4,
        gpu="H900",
        model="ViT-B/32",
        pictures="500x375",
        workers=1,
        network_gbit=0,
    )
    assert host.encoder_images_per_s == Figure(1_000.0, costs.MEASURED, "ViT-B/32 float16")
    assert host.preparation_s.value == pytest.approx(1.5e-3)
    assert host.model_s.value == pytest.approx(200e-6)
    assert host.redis_s.value == pytest.approx(50e-6)
    assert "network" not in [part.name for part in host.parts()]
    assert before == costs.load()


def rates(one: float, two: float) -> dict[str, float]:
    return {"images_per_s": one, "in_flight_images_per_s": two}


def test_the_check_compares_processor_time_and_rate() -> None:
    # given 100 images in 2 s, with 1 s of processor time in all
    found = Round(
        images=100,
        seconds=2.0,
        model_s=[0.2],
        children_s=0.7,
        redis_s=0.1,
        batch=8.0,
        timing_s={},
        gpu_use=None,
        memory_mib=None,
    )
    # when the forecast says that preparation takes less and the encoder something
    host = check.forecast(found, preparation_s=0.003, encoder_s=0.002)
    # then
    assert host.cpu_s == pytest.approx(0.008)
    rows = check.table({"demo": (host, found)}, "a title").splitlines()
    assert rows[-2] == "| demo | CPU of all processes, ms an image | 8.00 | 10.00 | 1.25 |"
    allows = host.binding().allows
    assert rows[-1].endswith(f" bind | {allows:,.0f} | 50 | {50 / allows:.2f} |")


@pytest.mark.integration
@pytest.mark.slow
def test_the_check_compares_two_workers_of_this_machine() -> None:
    command = [sys.executable, str(SCRIPT), "--check", "--quick"]  # by its path
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    cells = [line.split(" | ") for line in done.stdout.splitlines() if "CPU of all" in line]
    assert [row[0] for row in cells] == ["| image tower that costs nothing", "| demo model"]
    assert all(float(number.rstrip(" |")) > 0 for row in cells for number in row[2:])
