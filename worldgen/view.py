"""`python -m worldgen.view runs/example`: serves a finished world to the browser of this machine, and opens it.

world.html opens by itself, too; being served helps where the browser is at the other end of an SSH tunnel. With --https
the page for headsets is served to the whole network, as WebXR wants it.
"""

import argparse
import contextlib
import io
import sys
import webbrowser
from collections.abc import Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from worldgen import program
from worldgen.arguments import Parser, ends_in_one_line
from worldgen.certificate import address_in_network, server_context
from worldgen.errors import UserError

_PAGE = "export/world.html"
_HEADSET_PAGE = "world_vr.html"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: a line per request is no use to who looks at a world."""


def server(run_dir: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server of a run folder's files, for this machine alone; port 0 takes any free one.

    Raises UserError where the folder holds no finished world or the port is taken.
    """
    _expect_folder(run_dir)
    if not (run_dir / _PAGE).is_file():
        raise UserError(f"{run_dir}: no {_PAGE} in it, wanted a finished run; run the same command again to finish it")
    return _listening("127.0.0.1", port, run_dir)


def headset_server(run_dir: Path, port: int = 0) -> tuple[ThreadingHTTPServer, str]:
    """A server of the files to look at, by HTTPS, for every machine in the network, and the headset page's address.

    Raises UserError where there is no such page or the port is taken.
    """
    _expect_folder(run_dir)
    folder = run_dir / "export"
    if not (folder / _HEADSET_PAGE).is_file():
        raise UserError(
            f"{run_dir}: no export/{_HEADSET_PAGE} in it, wanted one: run the same command again, with"
            " export.headset as it is by default and after `python -m worldgen.fetch playcanvas`"
        )
    address = address_in_network()
    context = server_context([address, "127.0.0.1", "localhost"])
    running = _listening("0.0.0.0", port, folder)
    # Hands are shaken in the request's own thread, or one who only connects keeps all others waiting.
    running.socket = context.wrap_socket(running.socket, server_side=True, do_handshake_on_connect=False)
    return running, f"https://{address}:{running.server_port}/{_HEADSET_PAGE}"


def qr_code(text: str) -> str:
    """A QR code of characters, to be read off a terminal."""
    import segno

    drawn = io.StringIO()
    segno.make(text, micro=False).terminal(drawn, compact=True)
    return drawn.getvalue()


def _expect_folder(run_dir: Path) -> None:
    if not run_dir.is_dir():
        raise UserError(f"{run_dir}: not a folder, wanted a run folder as `python -m worldgen` makes it")


def _listening(address: str, port: int, folder: Path) -> ThreadingHTTPServer:
    try:
        return ThreadingHTTPServer((address, port), partial(_Quiet, directory=str(folder)))
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


def serve_headset(run_dir: Path, port: int = 0) -> None:
    """Serves until it is interrupted (Ctrl-C). Prints the address, and its QR code for the headset's camera."""
    running, url = headset_server(run_dir, port)
    with running, contextlib.suppress(KeyboardInterrupt):
        print(qr_code(url))
        print(f"{run_dir}: {url}   (Ctrl-C ends)")
        print("Everybody in this network can open it. The browser warns that it does not know the certificate: go on.")
        if url.startswith("https://127."):
            print("No network was found: only this machine reaches it.")
        sys.stdout.flush()
        running.serve_forever()


@ends_in_one_line
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = Parser(prog="python -m worldgen.view", description="Look at a finished world.")
    parser.add_argument("run", type=Path, help="a run folder, for example runs/example")
    parser.add_argument("--port", type=_port, default=0, help="where to listen (default: any free port)")
    parser.add_argument("--https", action="store_true", help="for headsets: to the whole network, with a QR code")
    parser.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    chosen = parser.parse_args(arguments)
    if chosen.https:
        serve_headset(chosen.run, chosen.port)
    else:
        serve(chosen.run, chosen.port, not chosen.no_browser)
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r}, wanted 0 to 65535")
    return int(text)


if __name__ == "__main__":
    program.run("worldgen.view")
