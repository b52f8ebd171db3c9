"""A server on this machine that speaks as much of the Hugging Face hub as models need."""

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    """A model on the hub: its commits, and what names them."""

    private: bool
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, changes: dict[str, bytes], message: str = "", branch: str = "main") -> str:
        """Add a commit with files that are new or changed."""
        files = self.commits.get(self.names.get(branch, ""), {}) | changes
        oid = hashlib.sha1(repr((len(self.commits), sorted(files.items()))).encode()).hexdigest()
        self.commits[oid] = files
        self.names[branch] = oid
        self.messages.append(message)
        return oid


class StandInHub(ThreadingHTTPServer):
    """The hub on a free port of this machine, while the context lasts."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Conversation)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repositories: dict[str, Repository] = {}
        self.tokens: set[str] = set()
        """Tokens that may write and see what is private."""
        self.fetched: list[str] = []
        """Paths of files whose content was sent."""

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Leave the network."""
        self.shutdown()
        self.server_close()


class Conversation(BaseHTTPRequestHandler):
    """One request and its answer."""

    server: StandInHub

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts == ["api", "validate-yaml"]:
            # As the hub does, which warns of a card that says nothing of the model.
            said = json.loads(body)["content"].startswith("---\n")
            return self.answer({"errors": [], "warnings": [] if said else [{"message": "empty or missing yaml"}]})
        if not self.known():
            return self.refuse(401, "", "Invalid username or password.")
        if parts == ["api", "repos", "create"]:
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if name in self.server.repositories:
                return self.answer({"url": f"{self.server.url}/{name}"}, status=409)
            private = asked.get("private") or asked.get("visibility") == "private"
            self.server.repositories[name] = Repository(private=bool(private))
            self.server.repositories[name].commit({".gitattributes": b""}, "initial commit")
            return self.answer({"url": f"{self.server.url}/{name}"})
        repository = self.server.repositories["/".join(parts[2:4])]
        if parts[4] == "preupload":
            files = [one["path"] for one in json.loads(body)["files"]]
            return self.answer({
                "files": [{"path": one, "uploadMode": "regular", "shouldIgnore": False} for one in files]
            })  # fmt: skip
        lines = [json.loads(line) for line in body.splitlines()]
        values = [line["value"] for line in lines if line["key"] == "file"]
        (message,) = [line["value"]["summary"] for line in lines if line["key"] == "header"]
        oid = repository.commit({one["path"]: base64.b64decode(one["content"]) for one in values}, message)
        url = f"{self.server.url}/{'/'.join(parts[2:4])}/commit/{oid}"
        return self.answer({"success": True, "commitOid": oid, "commitUrl": url})

    def do_GET(self):
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        of_files = parts[0] != "api"
        name = "/".join(parts[:2] if of_files else parts[2:4])
        repository = self.server.repositories.get(name)
        if repository is None or (repository.private and not self.known()):
            return self.refuse(401, "RepoNotFound", "Repository not found")
        rest = parts[2:] if of_files else parts[4:]
        asked = rest[1] if rest else "main"
        oid = repository.names.get(asked, asked)
        if oid not in repository.commits:
            return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {asked}")
        files = repository.commits[oid]
        if of_files:
            if repository.gated:
                return self.refuse(403, "GatedRepo", "Access is restricted")
            content = files[rest[2]]
            if self.command == "GET":
                self.server.fetched.append(rest[2])
            etag = hashlib.sha1(content).hexdigest()
            return self.answer(content, headers={"ETag": f'"{etag}"', "X-Repo-Commit": oid})
        if rest and rest[0] == "tree":
            return self.answer([
                {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for path, content in files.items()
            ])  # fmt: skip
        siblings = [{"rfilename": path} for path in files]
        return self.answer({"id": name, "sha": oid, "private": repository.private, "tags": [], "siblings": siblings})

    def do_HEAD(self):
        self.do_GET()

    def known(self) -> bool:
        return self.headers.get("Authorization", "").removeprefix("Bearer ") in self.server.tokens

    def refuse(self, status: int, code: str, message: str) -> None:
        self.answer({"error": message}, status, {"X-Error-Code": code, "X-Error-Message": message})

    def answer(self, content, status: int = 200, headers=None) -> None:
        sent = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(sent)
