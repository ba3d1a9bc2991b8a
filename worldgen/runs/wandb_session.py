"""A W&B run that is open, in a thread of its own: nothing that W&B does can end a run of ours, or hold it up.

with wandb_session(folder, identity, Destination(), config, note) as session:
    session.do(lambda run: run.log({"loss": 0.5}))

What fails is told once, in one line, and nothing more is tried: each further try would cost its time-out.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, Any, cast

from worldgen.errors import UserError, first_line
from worldgen.runs.provenance import gpu_name
from worldgen.runs.wandb_identity import Destination, WandbIdentity
from worldgen.slurm import STOPPED

if TYPE_CHECKING:
    import wandb

WAIT_S = 120.0
_INIT_TIMEOUT_S = 60
_FLUSH_S, _ON_DISK_S = 1.0, 2.5  # how often offline runs are written to the disk; after which they are there
_open: dict[Path, "WandbSession"] = {}
_log = logging.getLogger("worldgen")


class WandbSession:
    """Use `wandb_session`. Actions are done in their order, later; those after a failure are not."""

    def __init__(
        self,
        folder: Path,
        identity: WandbIdentity,
        destination: Destination,
        config: Mapping[str, Any],
        note: Callable[[str], None],
        wait_s: float = WAIT_S,
    ) -> None:
        self.folder, self.identity, self._note = folder, identity, note
        self._settings = (destination, dict(config), wait_s)
        self._run: wandb.Run | None = None
        self._failed: BaseException | None = None
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._delivered: dict[str, str] = {}
        self._closing = Event()
        self._thread = ThreadPoolExecutor(1, "wandb")
        self._thread.submit(self._guarded, self._begin)

    @property
    def failed(self) -> bool:
        """Whether W&B could not be had, as far as is known by now."""
        return self._failed is not None

    def do(self, action: Callable[["wandb.Run"], object], what: str = "", state: str = "") -> None:
        """Has `action` done with the run. what, state: are kept as logged once W&B has it for good; a run at W&B that
        has that state already, from a process that was killed, is left as it is."""
        self._thread.submit(self._guarded, self._act, action, what, state)
        self._tell()

    def has(self, what: str, state: str) -> None:
        """For an action: W&B has that, too."""
        self._delivered[what] = state

    def close(self, exit_code: int = 0, preempted: bool = False) -> None:
        """Waits until W&B has what it was told, `wait_s` at most for the last of it. preempted: it will go on."""
        self._closing.set()
        self._thread.submit(self._guarded, self._end, exit_code, preempted)
        self._thread.shutdown(wait=True)
        self._tell()

    def _begin(self) -> None:
        destination, config, wait_s = self._settings
        for text in (str(self.folder), self.identity.name, self.identity.group, *self.identity.tags):
            _expect_utf8(text)
        self._run = _begun(self.folder, self.identity, destination, config, wait_s)
        self._keep()
        if not self._run.disabled:
            later = f"offline, in {self.folder}/wandb; later: wandb sync {self.folder}/wandb"
            self._lines.put(f"W&B: {later if self._run.offline else self._run.url}")

    def _act(self, action: Callable[["wandb.Run"], object], what: str, state: str) -> None:
        run = self._run
        assert run is not None  # it began
        if not (what and run.resumed and run.summary.get(f"logged/{what}") == state):
            action(run)
        if not what:
            return
        run.summary[f"logged/{what}"] = state
        self.has(what, state)
        if run.offline and not self._closing.wait(_ON_DISK_S):
            self._keep()

    def _end(self, exit_code: int, preempted: bool) -> None:
        if self._run is None:
            return
        if preempted:
            self._run.mark_preempting()
        try:
            self._run.finish(exit_code=exit_code or int(self.failed))
        except Exception as error:
            _log.warning("W&B: %s: %s", type(error).__name__, first_line(error))
            self._lines.put(
                f"W&B has not taken everything yet ({_reason(error)}); later: the same command, "
                f"or wandb sync --include-online {self.folder}/wandb"
            )
        else:
            self._keep()

    def _keep(self) -> None:
        """Writes down in the folder what W&B has. Where WANDB_MODE has disabled it, nothing is kept anywhere."""
        if self._run is not None and not self._run.disabled:
            self.identity = replace(self.identity, logged={**self.identity.logged, **self._delivered})
            self.identity.save(self.folder)

    def _guarded(self, action: Callable[..., None], *arguments: Any) -> None:
        if self.failed and action != self._end:
            return
        try:
            action(*arguments)
        except Exception as error:
            self._failed = error
            _log.warning("W&B: %s: %s", type(error).__name__, first_line(error))
            self._lines.put(f"W&B cannot be had ({_reason(error)}); the run goes on, the same command logs it later")

    def _tell(self) -> None:
        """Prints, in the caller's own thread, what there is to say."""
        while True:
            try:
                self._note(self._lines.get_nowait())
            except Empty:
                return


@contextmanager
def wandb_session(
    folder: Path,
    identity: WandbIdentity,
    destination: Destination,
    config: Mapping[str, Any],
    note: Callable[[str], None],
    wait_s: float = WAIT_S,
) -> Iterator[WandbSession]:
    """The W&B run of a folder, begun or gone on with while the block runs; its files go to `folder`/wandb.

    destination: of which the mode counts; the identity says where it goes. config: is added to what W&B has. note:
    prints a line for the person. wait_s: seconds, at most, that the end waits for W&B to take what it was told.
    """
    session, place = WandbSession(folder, identity, destination, config, note, wait_s), folder.resolve()
    _open[place] = session
    try:
        yield session
    except BaseException as error:
        session.close(1, preempted=isinstance(error, SystemExit) and error.code == STOPPED)
        raise
    else:
        session.close()
    finally:
        del _open[place]


def open_session(folder: Path) -> WandbSession | None:
    """The session that this process has open for a folder."""
    return _open.get(folder.resolve())


def expect_wandb(setting: str) -> None:
    """Raises UserError where the package is missing. setting: what asked for it."""
    if find_spec("wandb") is None:
        raise UserError(f"{setting}: the package wandb is not installed, wanted pip install 'worldgen[wandb]'")


def _begun(
    folder: Path, identity: WandbIdentity, destination: Destination, config: Mapping[str, Any], wait_s: float
) -> "wandb.Run":
    """A run beside whatever other one this process may have. Raises what wandb raises."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # which a server that is away would have us wait for
    import wandb

    mode = destination.settled().mode
    wanted: dict[str, Any] = {
        "console": "off",  # what a step prints is in log.txt
        "silent": True,
        "disable_git": True,
        "save_code": False,
        "x_disable_stats": gpu_name() is None,
        "x_save_requirements": False,
        "x_transaction_log_flush_interval": _FLUSH_S,
        "init_timeout": _INIT_TIMEOUT_S,
        "finish_timeout": wait_s,
        "finish_timeout_raises": True,
    }
    settings = wandb.Settings(**{name: wanted[name] for name in wanted.keys() & wandb.Settings.model_fields.keys()})
    if mode in (None, "online"):
        _expect_login()
    return wandb.init(
        id=identity.id,
        resume="allow",
        reinit="create_new",
        mode=cast(Any, mode),
        job_type=identity.job_type,
        group=identity.group,
        name=identity.name,
        tags=list(identity.tags),
        config=dict(config),
        allow_val_change=True,
        project=identity.project,
        entity=identity.entity,
        dir=str(folder),
        settings=settings,
    )


def _expect_utf8(name: str) -> None:
    """Raises UserError for bytes of another encoding, which W&B's files cannot hold."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{name}: not UTF-8, wanted a name that is") from error


def _expect_login() -> None:
    """Raises UserError where nobody is logged in: wandb would ask for a key at a terminal, and wait."""
    import wandb

    try:
        from wandb.sdk.lib.wbauth import authenticate_session
    except ImportError:  # of another version, which asks
        return
    host = wandb.setup().settings.base_url
    if authenticate_session(host=host, source="worldgen", prompt=False, update_session=False) is None:
        raise UserError("no login, wanted `wandb login`, WANDB_API_KEY, or WANDB_MODE=offline")


def _reason(error: BaseException) -> str:
    return first_line(error).rstrip(".")
