"""A stand-in for the Hugging Face hub on this machine: what `huggingface_hub` asks of it, no more.

GET  /api/models/ORG/NAME/revision/REV     which commit that is
GET  /api/models/ORG/NAME/tree/COMMIT      its files
HEAD, GET /ORG/NAME/resolve/COMMIT/FILE    one of them
POST /api/repos/create                     a new model
POST /api/models/ORG/NAME/preupload/main   how files may come: all within the commit
POST /api/models/ORG/NAME/commit/main      files, a line of JSON each
"""

import base64
import hashlib
import http.server
import json
import re
import threading

_INFO = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(/revision/(?P<revision>.+))?")
_TREE = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)/?")
_POST = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/(?P<what>preupload|commit)/main")
_FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)")


class Hub:
    """Models by name, each with its revisions.

    Attributes:
      url: what HF_ENDPOINT has to be.
      asked: the paths of all requests so far.
      gated: names of models that nobody may read.
      private: names of models that were made so.
      read_only: whether nothing may be pushed.
    """

    def __init__(self):
        self.asked = []
        self.gated = set()
        self.private = set()
        self.read_only = False
        self._commits = {}  # name -> revision -> commit
        self._files = {}  # commit -> name of a file -> content
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def publish(self, name, folder, revision="main"):
        """Makes the files below `folder` the model `name` at `revision`; its commit."""
        files = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        return self._commit(name, files, revision)

    def _commit(self, name, files, revision="main"):
        content = b"".join(key.encode() + value for key, value in files.items())
        commit = hashlib.sha1(content).hexdigest()
        self._commits.setdefault(name, {})[revision] = commit
        self._files[commit] = files
        return commit

    def close(self):
        """Nothing answers any more."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path):
        """(status, headers, content) of what is asked for."""
        for pattern, made in ((_TREE, self._tree), (_FILE, self._file), (_INFO, self._info)):
            if match := pattern.fullmatch(path):
                commits = self._commits.get(match["repo"])
                if commits is None:
                    return 404, {"X-Error-Code": "RepoNotFound"}, b""
                if match["repo"] in self.gated:
                    return 403, {"X-Error-Code": "GatedRepo"}, b""
                revision = match["revision"] or "main"
                commit = commits.get(revision, revision)
                if commit not in self._files:
                    return 404, {"X-Error-Code": "RevisionNotFound"}, b""
                return made(match, commit)
        return 404, {}, b""

    def take(self, path, content):
        """(status, headers, content) of what is posted."""
        if self.read_only:
            return 403, {}, b"{}"
        if path == "/api/repos/create":
            asked = json.loads(content)
            name = f"{asked['organization']}/{asked['name']}"
            if name in self._commits:
                return 409, {}, json.dumps({"url": f"{self.url}/{name}"}).encode()
            self._commit(name, {".gitattributes": b""})
            if asked.get("private") or asked.get("visibility") == "private":
                self.private.add(name)
            return 200, {}, json.dumps({"url": f"{self.url}/{name}"}).encode()
        if path == "/api/validate-yaml":
            return 200, {}, b'{"errors": [], "warnings": []}'
        match = _POST.fullmatch(path)
        if match is None:
            return 404, {}, b""
        if match["what"] == "preupload":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(content)["files"]
            ]
            return 200, {}, json.dumps({"files": files}).encode()
        lines = [json.loads(line) for line in content.splitlines()]
        pushed = [line["value"] for line in lines if line["key"] == "file"]
        before = self._files.get(self._commits[match["repo"]].get("main"), {})
        new = {file["path"]: base64.b64decode(file["content"]) for file in pushed}
        gone = {line["value"]["path"] for line in lines if line["key"] == "deletedFile"}
        left = {path: data for path, data in before.items() if path not in gone}
        commit = self._commit(match["repo"], left | new)
        url = f"{self.url}/{match['repo']}/commit/{commit}"
        return 200, {}, json.dumps({"commitUrl": url, "commitOid": commit}).encode()

    def _info(self, match, commit):
        siblings = [{"rfilename": name} for name in self._files[commit]]
        private = match["repo"] in self.private
        info = {"id": match["repo"], "sha": commit, "private": private, "siblings": siblings}
        return 200, {}, json.dumps(info).encode()

    def _tree(self, match, commit):
        files = [
            {"type": "file", "path": name, "size": len(content), "oid": _etag(content)}
            for name, content in self._files[commit].items()
        ]
        return 200, {}, json.dumps(files).encode()

    def _file(self, match, commit):
        content = self._files[commit].get(match["name"])
        if content is None:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        return 200, {"X-Repo-Commit": commit, "ETag": f'"{_etag(content)}"'}, content

    def _handler(hub):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self, body=True):
                path = self.path.partition("?")[0]
                hub.asked.append(path)
                self._send(*hub.answer(path), body)

            def do_POST(self):
                posted = self.rfile.read(int(self.headers["Content-Length"]))
                self._send(*hub.take(self.path.partition("?")[0], posted))

            def _send(self, status, headers, content, body=True):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if body:
                    self.wfile.write(content)

            def do_HEAD(self):
                self.do_GET(body=False)

            def log_message(self, *args):
                pass

        return Handler


def _etag(content):
    return hashlib.sha1(content).hexdigest()
