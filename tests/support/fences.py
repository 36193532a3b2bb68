"""The snippets of a page of the documentation, and a session that runs them one after another."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from support.waiting import wait_until

LIMIT_S = 240.0
GENERATED = re.compile(r"<!-- generated: .*?<!-- end of generated -->", re.DOTALL)
FENCE = re.compile(
    r"(?:^(?P<pad1> *)<!-- (?P<mark>not run|runs until): (?P<text>.*?) -->\n+)?"
    r"^(?P<pad> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=pad)```$",
    re.MULTILINE | re.DOTALL,
)
RUN = ("python", "bash", "console", "json")
# What a page shows and nobody runs: output, other programs' files, the recipes' other languages.
SHOWN = (
    "",
    "text",
    "http",
    "js",
    "html",
    "yaml",
    "ini",
    "toml",
    "dockerfile",
    "promql",
    "sh",
    "sql",
)
ELSEWHERE = re.compile(r"(?:sudo )?(docker|kubectl|helm|systemctl|journalctl|git clone|make)\b")
COMMAND = re.compile(
    r"(?:\$ |sudo |pip install |clip-worker \w|celery -A|python3? -m|redis-cli |curl )"
)
SENTINEL = "--- next command ---"


@dataclass(frozen=True)
class Fence:
    """One snippet.

    Attributes:
        language: What is written behind the backticks.
        code: Without the page's indentation.
        not_run: Why it is not run, if the page says so.
        until: What a command prints that then goes on running, if the page says so.
    """

    language: str
    code: str
    not_run: str = ""
    until: str = ""

    @property
    def is_run(self) -> bool:
        """Whether a test runs it: no reason speaks against it."""
        return self.language in RUN and not self.not_run and not self.needs_another_machine

    @property
    def needs_another_machine(self) -> bool:
        """Whether it only has commands of Docker, a cluster, systemd, or the set-up."""
        lines = [
            line.removeprefix("$ ") for line in self.code.splitlines() if self.is_command(line)
        ]
        return bool(lines) and all(ELSEWHERE.match(line) for line in lines)

    def is_command(self, line: str) -> bool:
        """Whether a line is one: not output, a comment, or the rest of a longer command."""
        if self.language == "console":
            return line.startswith("$ ")
        return self.language in ("bash", "") and line[:1] not in ("", "#", " ")


def fences(page: str) -> list[Fence]:
    """All snippets of a page, except those that are generated."""
    found = []
    for each in FENCE.finditer(GENERATED.sub("", page)):
        pad = each["pad"]
        code = "".join(line.removeprefix(pad) for line in each["code"].splitlines(keepends=True))
        marks = {"not run": "", "runs until": ""} | {each["mark"]: each["text"]}
        found.append(Fence(each["language"], code, marks["not run"], marks["runs until"]))
    return found


def starts_workers(page: Path) -> bool:
    """Whether one of a page's snippets goes on running: a worker of its own, which takes long."""
    return any(fence.until for fence in fences(page.read_text()))


def unknown(fence: Fence) -> str | None:
    """What is wrong with a snippet that is neither run nor says why not."""
    if fence.language not in RUN + SHOWN:
        return f"the language {fence.language!r}: name it in support/fences.py"
    hides = any(COMMAND.match(line) for line in fence.code.splitlines())
    if not fence.language and not fence.not_run and hides and not fence.needs_another_machine:
        return f"a command without a language: write ```bash or ```console:\n{fence.code}"
    return None


class Session:
    """Runs the snippets of one page; what they start in the background ends with it.

    Args:
        folder: Where they run.
        environment: Of their processes.
        names: What Python's snippets find defined.
        replaced: Texts that stand for others, such as the Redis of the page.
    """

    def __init__(
        self,
        folder: Path,
        environment: dict[str, str],
        names: dict[str, Any],
        replaced: dict[str, str],
    ) -> None:
        self._folder = folder
        self._environment = environment
        self._given = names
        self._names: dict[str, Any] = {}
        self._replaced = replaced
        self._background: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._background):
            process.terminate()
        for process in self._background:
            process.wait(60)

    def run(self, snippets: list[Fence]) -> None:
        """Run all of a page, and compare what they print with what the page says."""
        for i, fence in enumerate(snippets):
            if not fence.is_run:
                continue
            if fence.language == "python":
                self._run_python(fence.code, snippets[i + 1 : i + 2])
            elif fence.language == "json":
                parse_json(fence.code)
            elif fence.until:
                self._start(fence)
            elif fence.language == "console":
                self._run_console(fence.code)
            else:
                self._shell(fence.code, "-euo", "pipefail")

    def _run_python(self, code: str, following: list[Fence]) -> None:
        self._names |= self._given  # a coroutine's `client` is not the next snippet's
        tree = compile(self._here(code), code, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            if tree.co_flags & inspect.CO_COROUTINE:
                asyncio.run(eval(tree, self._names))
            else:
                exec(tree, self._names)
        if printed.getvalue():
            outputs = [each.code for each in following if each.language in ("", "text")]
            check("".join(outputs), printed.getvalue())

    def _run_console(self, code: str) -> None:
        steps = re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", code, re.MULTILINE)
        assert steps, code
        script = "".join(f"{command}\necho '{SENTINEL}'\n" for command, _ in steps)
        printed = self._shell(script).split(f"{SENTINEL}\n")
        for (command, expected), got in zip(steps, printed, strict=False):
            check(self._here(expected), got, command)

    def _start(self, fence: Fence) -> None:
        command = self._here(fence.code.removeprefix("$ ").partition("\n")[0])
        log = self._folder / f"background-{len(self._background)}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", f"exec env {command}"],
                cwd=self._folder,
                env=self._environment,
                stdout=file,
                stderr=file,
            )
        self._background.append(process)
        wait_until(
            lambda: fence.until in log.read_text() or process.poll() is not None,
            log.read_text,
            limit_s=LIMIT_S,
        )
        assert process.poll() is None, log.read_text()
        expected = self._here(fence.code).splitlines()[1:]
        check(
            "\n".join(expected), "\n".join(log.read_text().splitlines()[: len(expected)]), command
        )

    def _shell(self, code: str, *options: str) -> str:
        ended = subprocess.run(
            ["bash", *options, "-c", self._here(code)],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert ended.returncode == 0, f"{code}\n{ended.stdout}"
        return ended.stdout

    def _here(self, text: str) -> str:
        for page, here in self._replaced.items():
            text = text.replace(page, here)
        return text


def parse_json(code: str) -> None:
    """Check that a snippet is JSON: one value, or one a line."""
    try:
        json.loads(code)
    except json.JSONDecodeError:
        for line in code.splitlines():
            json.loads(line)


def check(expected: str, printed: str, command: str = "") -> None:
    """Compare output with the page's, where `...` stands for anything, as does `…`."""
    pattern = re.escape(expected.rstrip()).replace(r"\.\.\.", ".*").replace("…", ".*")
    shown = "\n".join(line.rstrip() for line in printed.rstrip().splitlines())
    assert re.fullmatch(pattern, shown, re.DOTALL), f"$ {command}\n{printed}\nis not\n{expected}"
