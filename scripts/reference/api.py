"""The public names of a package, from their docstrings; nothing is imported."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from griffe import Alias, Module, load

from reference.docstring import markdown

ROOT = Path(__file__).resolve().parents[2]


def names(package: str) -> str:
    """Return a section for each name that a package exports, except errors."""
    module = _loaded(package)
    exported = [name for name in map(str, module.exports or ()) if not name.startswith("__")]
    members: dict[str, Any] = {name: module.members[name] for name in exported}
    return "\n\n".join(
        _entry(member, name)
        for name, member in members.items()
        if not member.target_path.startswith(f"{package}.errors.")
    )


@cache
def _loaded(package: str) -> Module:
    module = load(package, search_paths=[ROOT], resolve_aliases=True, resolve_implicit=True)
    assert isinstance(module, Module)
    return module


def _entry(member: Any, name: str) -> str:
    item = member.final_target if isinstance(member, Alias) else member
    parts = [f"### {name}", _fence(_signature(item, name)), markdown(item.docstring)]
    if item.is_class:
        parts += [text for method in _methods(item) for text in _method(name, method)]
    return "\n\n".join(part for part in parts if part)


def _methods(item: Any) -> Iterator[Any]:
    """Yield a class's public methods and properties, those of its base classes among them."""
    for name, member in item.all_members.items():
        method = member.final_target if isinstance(member, Alias) else member
        public = not name.startswith("_") and method.docstring
        if public and (method.is_function or "property" in method.labels):
            yield method


def _method(owner: str, method: Any) -> Iterator[str]:
    yield f"#### {owner}.{method.name}"
    yield _fence(_signature(method, method.name))
    yield markdown(method.docstring)


def _fence(code: str) -> str:
    return f"```python\n{code}\n```" if code else ""


def _signature(item: Any, name: str) -> str:
    if item.is_class:
        made_by = item.all_members.get("__init__")
        return _call(name, made_by) if made_by is not None else f"class {name}"
    if item.is_function:
        begin = "async def " if "async" in item.labels else "def "
        return begin + _call(name, item)
    return f"{name} = {item.value}" if item.value else f"{name}: {item.annotation}"


def _call(name: str, function: Any) -> str:
    given: list[str] = []
    kinds = [str(each.kind) for each in function.parameters]
    for parameter in function.parameters:
        if parameter.name in {"self", "cls"}:
            continue
        if "keyword-only" in str(parameter.kind) and not _has_star(given, kinds):
            given.append("*")
        given.append(_parameter(parameter))
    answer = "" if function.name == "__init__" else f" -> {function.annotation}"
    line = f"{name}({', '.join(given)}){answer}"
    if len(line) <= 92:
        return line
    return f"{name}(\n" + "".join(f"    {each},\n" for each in given) + f"){answer}"


def _has_star(given: list[str], kinds: list[str]) -> bool:
    return "*" in given or "variadic positional" in " ".join(kinds)


def _parameter(parameter: Any) -> str:
    stars = {"variadic positional": "*", "variadic keyword": "**"}.get(
        str(parameter.kind.value), ""
    )
    text = f"{stars}{parameter.name}"
    if parameter.annotation is not None:
        text += f": {parameter.annotation}"
    if parameter.default is not None and not stars:
        text += f" = {parameter.default}"
    return text
