"""W&B's own runs, one for each world, fit and ControlNet, as its API tells of them."""

from dataclasses import dataclass, field
from inspect import signature
from typing import Any, get_args

from eval.compare.kinds import CONTROLNET, STEPS_OF, Kind, groups_of
from train.controlnet.settings import DECIDES_NOTHING
from worldgen.errors import UserError, first_line
from worldgen.runs.wandb_names import ABOUT, score_name
from worldgen.runs.wandb_session import expect_wandb

_PAGE = 200  # runs that one request brings
_COSTS = ("seconds", "peak_memory_mb", "peak_gpu_memory_mb")


@dataclass(frozen=True, eq=False)
class WandbRun:
    """One run at W&B. state: finished, running, crashed, ..., as W&B says."""

    id: str
    group: str
    job_type: str
    state: str
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)


def online_runs(path: str, group: str | None) -> list[WandbRun]:
    """The runs of worlds, fits and ControlNets of a project, `entity/project` or `project`.

    Raises UserError where W&B does not answer.
    """
    expect_wandb(f"wandb={path}")
    import wandb

    try:
        api = wandb.Api(timeout=30)
        # Newer ones would ask for the config of each run by itself.
        whole: dict[str, Any] = {"lazy": False} if "lazy" in signature(api.runs).parameters else {}
        filters: dict[str, Any] = {"jobType": {"$in": [*STEPS_OF]}} | ({"group": group} if group else {})
        found = api.runs(path, filters=filters, per_page=_PAGE, **whole)
        return [
            WandbRun(run.id, run.group or "", run.job_type or "", run.state, dict(run.config), _plain(run.summary))
            for run in found
        ]
    except Exception as error:  # wandb raises its own, requests' and ValueErrors
        raise UserError(
            f"wandb: {path} cannot be read ({first_line(error).rstrip('.')}), wanted entity/project or a folder"
        ) from error


def kind_at_wandb(run: WandbRun) -> Kind | None:
    """What it is of: its job type, where it is a run of ours that can be compared."""
    known = isinstance(run.config.get(ABOUT), dict) and "run" in about(run)
    return next((kind for kind in get_args(Kind) if known and kind == run.job_type), None)


def about(run: WandbRun) -> dict[str, Any]:
    """What a run's config says beside its settings: run, photo, photo_sha256, versions, ..."""
    return dict(run.config[ABOUT])


def steps_of(run: WandbRun, kind: Kind) -> dict[str, dict[str, Any]]:
    """The steps that a run tells of, as a manifest has them."""
    steps: dict[str, dict[str, Any]] = {}
    for step in STEPS_OF[kind]:
        begins = f"{step}/"
        facts = {key.removeprefix(begins): value for key, value in run.summary.items() if key.startswith(begins)}
        if "seconds" in facts:
            cost = {name: facts.pop(name, 0.0) for name in _COSTS}
            config = {name: _deciding(name, run.config[name]) for name in groups_of(kind, step) if name in run.config}
            steps[step] = {"config": config, "facts": facts, "versions": about(run).get("versions", {}), **cost}
    return steps


def _deciding(group: str, value: Any) -> Any:
    """Without what makes no other weights, which W&B has and a step's record has not."""
    if group != CONTROLNET or not isinstance(value, dict):
        return value
    return {name: each for name, each in value.items() if name not in DECIDES_NOTHING}


def scores_of(run: WandbRun) -> dict[str, float]:
    """What evaluations found of a world, by metric; those of other protocols than `panorama` with it in brackets."""
    named = {score_name(key): value for key, value in run.summary.items() if isinstance(value, int | float)}
    return {name: float(value) for name, value in named.items() if name is not None}


def _plain(summary: Any) -> dict[str, Any]:
    return {key: value for key, value in dict(summary).items() if isinstance(value, int | float | str)}
