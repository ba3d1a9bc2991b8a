"""W&B's own runs, one for each step of a recipe, as its API tells of them."""

from dataclasses import dataclass, field
from typing import Any

from worldgen.errors import UserError
from worldgen.runs.wandb_runs import expect_wandb, one_line


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
    """The runs of a project, `entity/project` or `project`. Raises UserError where W&B does not answer."""
    expect_wandb(f"wandb={path}")
    import wandb

    try:
        found = wandb.Api(timeout=30).runs(path, filters={"group": group} if group else None)
        return [
            WandbRun(run.id, run.group or "", run.job_type or "", run.state, dict(run.config), _plain(run.summary))
            for run in found
        ]
    except Exception as error:  # wandb raises its own, requests' and ValueErrors
        raise UserError(
            f"wandb: {path} cannot be read ({one_line(error)}), wanted entity/project or a folder"
        ) from error


def _plain(summary: Any) -> dict[str, Any]:
    return {key: value for key, value in dict(summary).items() if isinstance(value, int | float | str)}
