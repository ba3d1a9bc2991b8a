"""A stand-in of W&B's server that fails in its ways, and a session with it in a process of its own, which prints what
is said: `python -m tests.wandb_server FOLDER 500|401|nothing|later|no-login`."""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

RUN = {"id": "x", "name": "x", "displayName": "x", "description": None, "config": "{}", "historyLineCount": 0}
PROJECT = {"project": {"id": "p", "name": "worldgen", "entity": {"id": "e", "name": "me"}}}
PATIENCE_S = 2.0


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


def main(folder: Path, kind: str) -> None:
    from worldgen.runs import wandb_session as sessions
    from worldgen.runs.wandb_identity import Destination, WandbIdentity, new_id, taken_up

    sessions._INIT_TIMEOUT_S = PATIENCE_S
    identity = taken_up(folder, WandbIdentity(new_id(), "world", "venice", "sweep", project="worldgen"))
    where = Destination(mode="online")
    with sessions.wandb_session(folder, identity, where, {}, print, wait_s=PATIENCE_S) as session:
        session.do(lambda run: run.log({"x": 1}), "fov", "state")
        print("goes on")


if __name__ == "__main__":
    with failing(sys.argv[2]) as address:
        os.environ |= {"WANDB_BASE_URL": address, "WANDB_MODE": "online"}
        if sys.argv[2] != "no-login":
            os.environ["WANDB_API_KEY"] = "0" * 40
        main(Path(sys.argv[1]), sys.argv[2])
