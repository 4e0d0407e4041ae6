"""A stand-in for the Hugging Face hub on this machine: what `huggingface_hub` asks of it, no more.

GET  /api/models/ORG/NAME/revision/REV     which commit that is
GET  /api/models/ORG/NAME/tree/COMMIT      its files
HEAD, GET /ORG/NAME/resolve/COMMIT/FILE    one of them
"""

import hashlib
import http.server
import json
import re
import threading

_INFO = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(/revision/(?P<revision>.+))?")
_TREE = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)/?")
_FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)")


class Hub:
    """Models by name, each with its revisions.

    Attributes:
      url: what HF_ENDPOINT has to be.
      asked: the paths of all requests so far.
      gated: names of models that nobody may read.
    """

    def __init__(self):
        self.asked = []
        self.gated = set()
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

    def _info(self, match, commit):
        return 200, {}, json.dumps({"id": match["repo"], "sha": commit}).encode()

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
                status, headers, content = hub.answer(path)
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
