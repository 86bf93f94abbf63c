"""A small hub on this machine: the routes of the Hugging Face hub that a push and a download use, over real HTTP."""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

TOKEN = "hf_test"  # noqa: S105
Files = dict[str, bytes]


@dataclass
class Repo:
    """Commits in order, each with all its files, and which one a branch or tag is."""

    private: bool = False
    commits: dict[str, Files] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def add(self, files: Files, branch: str = "main") -> str:
        text = b"".join(name.encode() + data for name, data in sorted(files.items()))
        commit = hashlib.sha1(text + str(len(self.commits)).encode()).hexdigest()
        self.commits[commit] = files
        self.refs[branch] = commit
        return commit

    def find(self, revision: str) -> str | None:
        return revision if revision in self.commits else self.refs.get(revision)


class Hub(ThreadingHTTPServer):
    """The server, its repositories, and the requests it got."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, Repo] = {}
        self.requests: list[str] = []
        self.writers = {"me"}
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def fetched(self) -> list[str]:
        """Names of the files that were downloaded."""
        return [line.rsplit("/", 1)[1] for line in self.requests if line.startswith("GET") and "/resolve/" in line]


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *args: object) -> None:
        """Keep quiet."""

    def answer(self, status: int, body: Any = None, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def refuse(self, status: int, code: str, message: str) -> None:
        self.answer(status, {"error": message}, X_Error_Code=code, X_Error_Message=message)

    def repo(self, name: str) -> Repo | None:
        found = self.server.repos.get(name)
        hidden = found is not None and found.private and self.token is None
        return None if hidden else found

    @property
    def token(self) -> str | None:
        return self.headers.get("Authorization", "").removeprefix("Bearer ") or None

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(f"{self.command} {path}")
        for pattern, give in (
            (r"/api/models/([^/]+/[^/]+)/tree/(.+)", self.tree),
            (r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", self.info),
            (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.file),
        ):
            if found := re.fullmatch(pattern, path):
                name, revision, *rest = found.groups()
                repo = self.repo(name)
                if repo is None:
                    return self.refuse(404 if self.token else 401, "RepoNotFound", "Repository not found")
                commit = repo.find(revision or "main")
                if commit is None:
                    return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
                return give(name, commit, repo.commits[commit], *rest)
        return self.refuse(404, "", f"no such route: {path}")

    def info(self, name: str, commit: str, files: Files) -> None:
        self.answer(200, {"id": name, "sha": commit, "siblings": [{"rfilename": one} for one in sorted(files)]})

    def tree(self, name: str, commit: str, files: Files) -> None:
        entry = [{"type": "file", "path": p, "size": len(d), "oid": blob(d)} for p, d in sorted(files.items())]
        self.answer(200, entry)

    def file(self, name: str, commit: str, files: Files, path: str) -> None:
        if path not in files:
            return self.refuse(404, "EntryNotFound", "Entry not found")
        data = files[path]
        known = {"ETag": f'"{blob(data)}"', "X_Repo_Commit": commit, "Content_Length": str(len(data))}
        return self.answer(200, data, **known)

    def do_POST(self) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append(f"POST {path}")
        if path == "/api/validate-yaml":
            return self.validate(json.loads(body)["content"])
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/(.+)", path)
        if found is None:
            return self.refuse(404, "", f"no such route: {path}")
        if not self.may_write(found[1]):
            return self.refuse(403, "", "Forbidden: you must use a write token")
        if found[2] == "preupload":
            files = json.loads(body)["files"]
            modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]
            return self.answer(200, {"files": modes})
        return self.commit(found[1], found[3], body)

    def may_write(self, name: str) -> bool:
        return self.token == TOKEN and name.partition("/")[0] in self.server.writers

    def validate(self, text: str) -> None:
        """Hold the front matter against what the hub requires of it."""
        matter = yaml.safe_load(text.split("---")[1])
        results = [one for model in matter.get("model-index", []) for one in model["results"]]
        complete = all({"task", "dataset", "metrics"} <= one.keys() and one["dataset"]["name"] for one in results)
        if matter.get("license") == "bad" or not complete:
            return self.answer(400, {"errors": [{"message": '"license" must be one of a list'}]})
        return self.answer(200, {"errors": [], "warnings": []})

    def create(self, asked: dict[str, Any]) -> None:
        if self.token is None:
            return self.refuse(401, "", "Invalid username or password.")
        name = f"{asked['organization']}/{asked['name']}"
        if not self.may_write(name):
            return self.refuse(403, "", "You don't have the rights to create a model under this namespace")
        if name in self.server.repos:
            url = f"{self.server.url}/{name}"
            return self.answer(409, {"error": "You already created this model repo", "url": url})
        self.server.repos[name] = Repo(asked.get("visibility") == "private" or bool(asked.get("private")))
        self.server.repos[name].add({".gitattributes": b""})
        return self.answer(200, {"url": f"{self.server.url}/{name}", "name": name})

    def commit(self, name: str, branch: str, body: bytes) -> None:
        repo = self.server.repos[name]
        files = dict(repo.commits[repo.refs[branch]])
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            elif entry["key"] == "deletedFile":
                del files[entry["value"]["path"]]
        commit = repo.add(files, branch)
        url = f"{self.server.url}/{name}/commit/{commit}"
        self.answer(200, {"commitOid": commit, "commitUrl": url, "hookOutput": "", "success": True})


def blob(data: bytes) -> str:
    """Return the git id of a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@pytest.fixture(scope="module")
def served():
    """One server for a file of tests."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield hub
    hub.shutdown()
    hub.server_close()
    thread.join()


@pytest.fixture
def hub(served: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Hub:
    """An empty hub, a login that may write to `me`, and an empty cache."""
    from huggingface_hub import constants

    served.repos.clear()
    served.requests.clear()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    # The library read HF_ENDPOINT and HF_HOME when it was imported; a process of its own is tested with these too.
    point_to(monkeypatch, served.url)
    home = tmp_path_factory.mktemp("hf")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(home / "stored_tokens"))
    return served


def point_to(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Let the hub's library ask another address."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
