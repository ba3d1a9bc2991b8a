"""A stand-in of W&B's server, which fails in its ways."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

RUN = {"id": "x", "name": "x", "displayName": "x", "description": None, "config": "{}", "historyLineCount": 0}
PROJECT = {"project": {"id": "p", "name": "worldgen", "entity": {"id": "e", "name": "me"}}}


@contextmanager
def failing(kind: str) -> Iterator[str]:
    """The address of a server. kind: a status; `nothing`: it never answers; `later`: it takes a run up, and nothing
    else after that."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("latin-1")
            if kind == "nothing":
                time.sleep(60)
            found: Any = None
            if kind == "later" and "query RunResumeStatus" in body:
                found = {"data": {"model": None}}
            elif kind == "later" and "mutation UpsertBucket" in body:
                found = {"data": {"upsertBucket": {"bucket": RUN | PROJECT, "inserted": True}}}
            content = json.dumps(found or {}).encode()
            self.send_response(200 if found else int(kind) if kind.isdigit() else 500)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = answer

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
