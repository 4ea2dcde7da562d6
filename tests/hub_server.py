"""A hub on the loopback device, which speaks as much of the Hugging Face hub's API as its client asks for.

with serve({"owner/name": {"data/a.jsonl": b"..."}}) as hub:
    hub.tags[("owner/name", "main")]  # the commit that a branch or tag stands for
    hub.log  # the requests so far
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from huggingface_hub import close_session, constants

Files = dict[str, bytes]


@dataclass
class Hub:
    """What a hub holds: every repository is there as a model and as a dataset."""

    commits: dict[tuple[str, str], Files] = field(default_factory=dict)  # by repository and commit
    tags: dict[tuple[str, str], str] = field(default_factory=dict)  # by repository and branch or tag: the commit
    gated: set[str] = field(default_factory=set)
    log: list[str] = field(default_factory=list)
    url: str = ""

    def commit(self, repo: str, files: Files) -> str:
        """A new commit of `main`."""
        content = repr(sorted(files.items())).encode()
        commit = hashlib.sha1(repo.encode() + content).hexdigest()
        self.commits[repo, commit] = files
        self.tags[repo, "main"] = commit
        return commit

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a path."""
        parts = [unquote(part) for part in urlsplit(path).path.strip("/").split("/")]
        api = parts[0] == "api"
        parts = parts[1:] if api else parts
        parts = parts[1:] if parts[0] in ("datasets", "models") else parts
        repo, action, revision, name = "/".join(parts[:2]), parts[2], parts[3], "/".join(parts[4:])
        if repo in self.gated:
            return 403, {"X-Error-Code": "GatedRepo"}, b""
        if not any(repo == known for known, _ in self.commits):
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        commit = self.tags.get((repo, revision), revision)
        if (repo, commit) not in self.commits:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        files = self.commits[repo, commit]
        if api and action == "revision":
            return 200, {}, json.dumps({"id": repo, "sha": commit, "siblings": []}).encode()
        if api and action == "tree":
            return 200, {}, json.dumps([entry(name, data) for name, data in files.items()]).encode()
        if name not in files:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        etag = hashlib.sha1(files[name]).hexdigest()
        return 200, {"X-Repo-Commit": commit, "ETag": f'"{etag}"'}, files[name]


def entry(name: str, data: bytes) -> dict[str, object]:
    """A file as the hub lists it."""
    return {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}


@contextmanager
def serve(repositories: dict[str, Files]) -> Iterator[Hub]:
    """A hub that holds the repositories, each at one commit that `main` stands for."""
    hub = Hub()
    for repo, files in repositories.items():
        hub.commit(repo, files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            hub.log.append(f"{self.command} {self.path}")
            status, headers, body = hub.answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 (the name is http.server's)

        def log_message(self, *args: object) -> None:
            """Nothing on standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield hub
    finally:
        close_session()  # the client's idle connections, for which the server's threads wait
        server.shutdown()
        thread.join()
        server.server_close()


def point_at(monkeypatch, url: str, cache, offline: bool = False) -> None:
    """As HF_ENDPOINT, HF_HUB_CACHE and HF_HUB_OFFLINE would, which are read once, at import."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    close_session()
