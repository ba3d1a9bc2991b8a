"""A run folder's steps at W&B: each is logged once for each state of its files."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldgen.runs.folder import StepResult
from worldgen.runs.record import StepRecord, load_record, look
from worldgen.runs.wandb_identity import Destination, WandbIdentity, state_of
from worldgen.runs.wandb_names import ABOUT
from worldgen.runs.wandb_session import WAIT_S, WandbSession, wandb_session

if TYPE_CHECKING:
    import wandb

LogStep = Callable[[StepResult], None]


class LoggedSteps(AbstractContextManager[LogStep]):
    """While it is open, steps are logged, each with what it cost, its facts and the hashes of its weights.

    What W&B missed is logged when the command runs again. Where all steps were logged, no W&B run is begun until one
    comes out otherwise.
    """

    def __init__(
        self,
        folder: Path,
        identity: WandbIdentity,
        destination: Destination,
        config: Mapping[str, Any],
        steps: Collection[str],
        note: Callable[[str], None],
        wait_s: float = WAIT_S,
        artifacts: Sequence[str] = (),
    ) -> None:
        """identity: as `taken_up` has it; config: settings, and under `ABOUT` what is none; steps: that are asked for;
        artifacts: files that W&B keeps, by name. Else as `wandb_session`."""
        self._folder, self._identity, self._destination = folder, identity, destination
        self._about = {"weights": {}, **config[ABOUT]}
        self._config = {**config, ABOUT: self._about}
        self._steps, self._note, self._wait_s, self._artifacts = set(steps), note, wait_s, list(artifacts)
        self._opened: AbstractContextManager[WandbSession] | None = None
        self._session: WandbSession | None = None

    def __enter__(self) -> LogStep:
        if not self._steps <= set(self._identity.logged):
            self._begin()
        return self._log

    def __exit__(self, *error: Any) -> None:
        if self._opened is not None:
            self._opened.__exit__(*error)

    def more_of(self, result: StepResult, record: StepRecord, state: str) -> "Callable[[wandb.Run], None]":
        """What else is logged of a step; called here and now, what it returns in W&B's thread. state: of its files."""
        del result, record, state
        return lambda run: None

    def has(self, what: str, state: str) -> None:
        """For what `more_of` returns: W&B has that, too."""
        assert self._session is not None
        self._session.has(what, state)

    def _log(self, result: StepResult) -> None:
        record = load_record(result.path)
        state = state_of(record.key, look(result.path, record.files).sha256, self._artifacts)
        if self._identity.logged.get(result.name) == state:
            return
        session = self._session or self._begin()
        if session.failed:
            return
        log_more = self.more_of(result, record, state)

        def fill(run: "wandb.Run") -> None:
            run.summary.update(step_summary(result, record))
            self._about["weights"] = {**self._about["weights"], **record.assets}
            run.config.update({ABOUT: self._about}, allow_val_change=True)
            log_more(run)

        session.do(fill, result.name, state)

    def _begin(self) -> WandbSession:
        self._opened = wandb_session(
            self._folder, self._identity, self._destination, self._config, self._note, self._wait_s
        )
        self._session = self._opened.__enter__()
        return self._session


def step_summary(result: StepResult, record: StepRecord) -> dict[str, Any]:
    """What came of a step and what it cost: `panorama/seconds`, `panorama/peak_memory_mb`, ..."""
    facts = {**result.facts, "seconds": result.seconds, "peak_memory_mb": result.peak_memory_mb}
    if record.peak_gpu_memory_mb is not None:
        facts["peak_gpu_memory_mb"] = record.peak_gpu_memory_mb
    return {f"{result.name}/{name}": value for name, value in facts.items()}
