"""A Hugging Face hub on the loopback, as far as `huggingface_hub` asks one for models.

Repositories have branches and commits; files come with ETag and X-Repo-Commit, weights by a
redirect, as from the real hub's storage. All requests are recorded.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

API = re.compile(r"/api/models/(.+?)(?:/(revision|tree)/([^/]+))?")
RESOLVE = re.compile(r"/(.+?)/resolve/([^/]+)/(.+)")
STORED = re.compile(r"/storage/([0-9a-f]{64})")
LARGE = (".safetensors", ".bin", ".pt")  # stored elsewhere by the real hub


@dataclass
class Repository:
    """A repository: its commits' files, and the commits of its branches."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    token: str | None = None  # that one needs to see it
    gated: bool = False  # seen by all, read by nobody


@dataclass
class Hub:
    """The hub; `requests` are method and path of each request, without the query.

    Attributes:
        answer: If set, answers every request instead: a status and a body.
    """

    url: str
    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    answer: tuple[int, bytes] | None = None

    def add(
        self,
        name: str,
        files: Mapping[str, bytes] | Path,
        *,
        branch: str = "main",
        token: str | None = None,
        gated: bool = False,
    ) -> str:
        """Commit files, or those of a folder, to a branch; the commit's hash."""
        if isinstance(files, Path):
            files = {path.name: path.read_bytes() for path in files.iterdir()}
        content = {path: hashlib.sha1(body).hexdigest() for path, body in files.items()}
        commit = hashlib.sha1(json.dumps([name, content]).encode()).hexdigest()
        repository = self.repositories.setdefault(name, Repository())
        repository.commits[commit] = dict(files)
        repository.branches[branch] = commit
        repository.token, repository.gated = token, gated
        return commit

    def downloads(self, filename: str) -> int:
        """How often a file's content was asked for by its name."""
        return sum(m == "GET" and path.endswith(f"/{filename}") for m, path in self.requests)

    def environment(self, home: Path) -> dict[str, str]:
        """Variables for a process that shall use this hub, with its cache below `home`."""
        patience = dict.fromkeys(("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"), "120")
        place = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
        return patience | place  # a busy machine may answer late

    def use(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        """Let this process use this hub, although `huggingface_hub` has read the environment."""
        from huggingface_hub import constants

        template = self.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", self.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.delenv("HF_TOKEN", raising=False)


@contextlib.contextmanager
def hub_server() -> Iterator[Hub]:
    """Serve a hub without repositories until the block ends."""
    hub = Hub("")
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield hub
        finally:
            server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path))
        if self.hub.answer is not None:
            status, body = self.hub.answer
            return self._send(status, body)
        routes: tuple[tuple[re.Pattern[str], Callable[..., None]], ...] = (
            (STORED, self._stored),
            (API, self._api),
            (RESOLVE, self._resolve),
        )
        for pattern, answer in routes:
            if match := pattern.fullmatch(path):
                return answer(*match.groups())
        return self._send(404, b"")

    do_HEAD = do_GET  # noqa: N815  # as the standard library calls it

    def log_message(self, *args: object) -> None:
        """Nothing: tests look at `requests`."""

    def _api(self, name: str, what: str | None, revision: str | None) -> None:
        found = self._commit(name, revision or "main")
        if found is None:
            return None
        commit, files = found
        if what == "tree":
            listing = [self._listed(path, body) for path, body in files.items()]
            return self._send(200, json.dumps(listing).encode())
        siblings = [{"rfilename": path} for path in files]
        info = {"id": name, "sha": commit, "siblings": siblings, "tags": [], "private": False}
        return self._send(200, json.dumps(info).encode())

    def _listed(self, path: str, body: bytes) -> dict[str, object]:
        oid = _git_sha1(body)
        listed: dict[str, object] = {"type": "file", "path": path, "size": len(body), "oid": oid}
        if path.endswith(LARGE):
            listed["lfs"] = {"oid": _sha256(body), "size": len(body), "pointerSize": 130}
        return listed

    def _resolve(self, name: str, revision: str, path: str) -> None:
        found = self._commit(name, revision)
        if found is None:
            return None
        commit, files = found
        if self.hub.repositories[name].gated:
            return self._refuse(403, "GatedRepo")
        if path not in files:
            return self._refuse(404, "EntryNotFound")
        headers = {"X-Repo-Commit": commit}
        if not path.endswith(LARGE):
            etag = _git_sha1(files[path])
            return self._send(200, files[path], {**headers, "ETag": f'"{etag}"'})
        digest = _sha256(files[path])
        storage = self.hub.url.replace("127.0.0.1", "localhost")  # another host, as the real one
        headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(files[path]))}
        return self._send(302, b"", {**headers, "Location": f"{storage}/storage/{digest}"})

    def _stored(self, digest: str) -> None:
        bodies = (
            body
            for repository in self.hub.repositories.values()
            for files in repository.commits.values()
            for body in files.values()
        )
        body = next(body for body in bodies if _sha256(body) == digest)
        start = int((self.headers.get("Range") or "bytes=0-")[len("bytes=") :].partition("-")[0])
        where = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
        self._send(206 if start else 200, body[start:], {"ETag": f'"{digest}"', **where})

    def _commit(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit and its files; None if the request has been answered with an error."""
        repository = self.hub.repositories.get(name)
        sent = self.headers.get("Authorization")
        if repository is None or repository.token not in (
            None,
            (sent or "").removeprefix("Bearer "),
        ):
            self._refuse(401 if sent is None else 404, "RepoNotFound")
            return None
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits:
            self._refuse(404, "RevisionNotFound")
            return None
        return commit, repository.commits[commit]

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] = {}) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def _git_sha1(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
