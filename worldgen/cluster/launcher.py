"""Hydra's launcher for Slurm (conf/hydra/launcher/slurm.yaml): a job for each run of a sweep, by submitit."""

import re
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from worldgen.cluster import nodes
from worldgen.cluster.run_of_sweep import RunOfSweep
from worldgen.cluster.submission import LAUNCHER, chunks, expect_slurm, max_array, scripts, submit
from worldgen.cluster.watch import wait_for
from worldgen.errors import UserError, expect, is_whole

_PLUGINS, _MODULE = "hydra_plugins", "hydra_plugins.worldgen"


def register() -> None:
    """Makes the launcher known to Hydra, which takes those of the package hydra_plugins alone, by the name that its
    YAML has."""
    if _PLUGINS not in sys.modules and find_spec(_PLUGINS) is None:  # no plugin of others is installed
        sys.modules[_PLUGINS] = ModuleType(_PLUGINS)
        sys.modules[_PLUGINS].__path__ = []  # Hydra looks for plugins there
    made = type(SlurmLauncher.__name__, (SlurmLauncher,), {"__module__": _MODULE})
    sys.modules[_MODULE] = ModuleType(_MODULE)
    setattr(sys.modules[_MODULE], made.__name__, made)
    Plugins.instance().register(made)


class SlurmLauncher(Launcher):
    """settings: what the YAML says; keys that are not the launcher's own go to sbatch, by submitit's names."""

    def __init__(self, **settings: Any) -> None:
        self._settings: dict[str, Any] = {
            key: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            for key, value in settings.items()
        }

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """What Hydra tells of the program."""
        self._context, self._function, self._config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Submits a job for each run, says how to follow and to end them, and waits for them, or not.

        Raises UserError where Slurm refuses them, RunFailedError where one failed.
        """
        settings = self._checked()
        if not settings["dry_run"]:
            expect_slurm()
        settings, notes = nodes.settled(settings, nodes.nodes())
        for note in notes:
            _say(note)
        most = max_array() if len(job_overrides) > 1 else 1
        arrays = chunks(len(job_overrides), settings["array_parallelism"], most)
        labels = labels_of([filter_overrides(overrides) for overrides in job_overrides])
        if settings["dry_run"]:
            _show(scripts(settings, arrays), arrays, labels)
            return _nothing_yet(len(job_overrides))
        state = Singleton.get_state()
        runs = [
            RunOfSweep(self._context, self._config, self._function, list(overrides), number, state)
            for number, overrides in enumerate(job_overrides, start=initial_job_idx)
        ]
        jobs = submit(settings, arrays, runs)
        _announce(jobs, labels, arrays)
        if settings["wait"]:
            wait_for(jobs, labels, settings["max_num_timeout"], _say)
        return _nothing_yet(len(job_overrides))

    def _checked(self) -> dict[str, Any]:
        settings = self._settings.copy()
        try:
            import submitit  # noqa: F401 says at once that it is not here
        except ImportError as error:
            raise UserError(f"{LAUNCHER}: no submitit here, wanted pip install 'worldgen[slurm]'") from error
        for key in ("wait", "dry_run"):
            expect(f"hydra.launcher.{key}", settings[key], isinstance(settings[key], bool), "true or false")
        for key, least in (("array_parallelism", 1), ("max_num_timeout", 0), ("timeout_min", 1)):
            fits = is_whole(settings[key]) and settings[key] >= least
            expect(f"hydra.launcher.{key}", settings[key], fits, f"a whole number from {least}")
        return settings


def labels_of(overrides: Sequence[Sequence[str]]) -> list[str]:
    """What tells the runs apart: their overrides without those that all of them have, and without quotes."""
    shared = set(overrides[0]).intersection(*overrides[1:]) if len(overrides) > 1 else set()
    telling = [[re.sub(r"=(['\"])(.*)\1$", r"=\2", one) for one in single if one not in shared] for single in overrides]
    return [" ".join(single) or f"run {number}" for number, single in enumerate(telling)]


def _announce(jobs: Sequence[Any], labels: Sequence[str], arrays: Sequence[tuple[range, int]]) -> None:
    """Ids, logs, and how to end them."""
    for runs, parallelism in arrays:
        first, last = jobs[runs[0]], jobs[runs[-1]]
        job = first.job_id.partition("_")[0]
        if len(runs) == 1:
            _say(f"job {job}: {labels[runs[0]]}")
            _say(f"  log     {_short(first.paths.stdout)}")
        else:
            at_once = f", {parallelism} at a time" if parallelism < len(runs) else ""
            _say(f"job {job}: {len(runs)} runs, {first.job_id} to {last.job_id}{at_once}")
            for place in (*runs[:3], *runs[max(3, len(runs) - 1) :]):
                _say(f"  {jobs[place].job_id:<8} {labels[place]}")
            _say(f"  logs    {_short(first.paths.stdout)} ...")
        one = f"; one of them: scancel {first.job_id}" if len(runs) > 1 else ""
        _say(f"  cancel  scancel {job}{one}")


def _show(texts: Sequence[str], arrays: Sequence[tuple[range, int]], labels: Sequence[str]) -> None:
    for text, (runs, _) in zip(texts, arrays, strict=True):
        for place in runs:
            print(f"# {place - runs[0]}: {labels[place]}")
        print(text)
    _say("dry run: nothing was submitted")


def _nothing_yet(count: int) -> list[JobReturn]:
    """What Hydra wants of each run; what became of them is told above."""
    return [JobReturn(status=JobStatus.COMPLETED) for _ in range(count)]


def _short(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
