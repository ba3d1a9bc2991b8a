"""`python -m worldgen.view runs/example`: serves a finished world to the browser of this machine, and opens it.

world.html opens by itself, too; being served helps where the browser is at the other end of an SSH tunnel.
"""

import argparse
import contextlib
import webbrowser
from collections.abc import Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from worldgen import program
from worldgen.arguments import Parser, ends_in_one_line
from worldgen.errors import UserError

_PAGE = "export/world.html"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: a line per request is no use to who looks at a world."""


def server(run_dir: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server of a run folder's files, for this machine alone; port 0 takes any free one.

    Raises UserError where the folder holds no finished world or the port is taken.
    """
    if not run_dir.is_dir():
        raise UserError(f"{run_dir}: not a folder, wanted a run folder as `python -m worldgen` makes it")
    if not (run_dir / _PAGE).is_file():
        raise UserError(f"{run_dir}: no {_PAGE} in it, wanted a finished run; run the same command again to finish it")
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(_Quiet, directory=str(run_dir)))
    except OSError as error:
        raise UserError(f"--port: {port}, which cannot be listened on ({error.strerror}), wanted a free one") from error


def serve(run_dir: Path, port: int = 0, browser: bool = True) -> None:
    """Serves until it is interrupted (Ctrl-C). Prints the address, and opens it if `browser`."""
    with server(run_dir, port) as running, contextlib.suppress(KeyboardInterrupt):
        url = f"http://127.0.0.1:{running.server_port}/{_PAGE}"
        print(f"{run_dir}: {url}   (Ctrl-C ends)", flush=True)
        if browser:
            webbrowser.open(url)
        running.serve_forever()


@ends_in_one_line
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = Parser(prog="python -m worldgen.view", description="Look at a finished world.")
    parser.add_argument("run", type=Path, help="a run folder, for example runs/example")
    parser.add_argument("--port", type=_port, default=0, help="where to listen on 127.0.0.1 (default: any free port)")
    parser.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    chosen = parser.parse_args(arguments)
    serve(chosen.run, chosen.port, not chosen.no_browser)
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r}, wanted 0 to 65535")
    return int(text)


if __name__ == "__main__":
    program.run("worldgen.view")
