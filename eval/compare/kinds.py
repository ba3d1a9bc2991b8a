"""Worlds, fits and ControlNets: how a run's kind is told from its steps, and which figures each kind leaves."""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from worldgen.runs.steps_table import EXPORT, SPLAT, STEPS
from worldgen.runs.wandb_runs import is_number

Kind = Literal["world", "fit", "controlnet"]
CONTROLNET = "controlnet"
STEPS_OF: dict[str, tuple[str, ...]] = {
    "world": tuple(step.name for step in STEPS),
    "fit": (SPLAT, EXPORT),
    "controlnet": (CONTROLNET,),
}
_TRAINED_BY = {
    SPLAT: ("scene", SPLAT, "seed"),
    EXPORT: ("frame",),
    CONTROLNET: ("data", "inpainter", CONTROLNET, "seed"),
}
STEP_ORDER = (*STEPS_OF["world"], CONTROLNET)
TITLES = {"points": "points", "gaussians": "Gaussians", "psnr_db": "PSNR (dB)", "loss": "loss"}
_HELD_OUT, _SAMPLES, _REPORT = "held_out_", "samples_", "report_"
_BETTER = {"PSNR (dB)": "higher", "loss": "lower", "all steps (s)": "lower", "peak memory (MB)": "lower"}
_NO_SCORES = ("steps", "gaussians", "held_out_views", "seconds", "loss_first", "loss_last")  # of a fit's facts


def kind_of(steps: Mapping[str, Any], folder: Path | None = None) -> Kind:
    """steps: the finished ones; folder: tells of the step at work where none is finished."""
    attempted = {path.name.split(".")[1] for path in folder.glob(".*.worldgen-new")} if folder and not steps else set()
    names = {*steps, *attempted}
    if CONTROLNET in names:
        return "controlnet"
    return "fit" if names and names <= set(STEPS_OF["fit"]) else "world"


def groups_of(kind: Kind, step: str) -> tuple[str, ...]:
    """The parts of a run's config that a step's record repeats."""
    if kind == "world":
        return next((*spec.groups, "seed") for spec in STEPS if spec.name == step)
    return _TRAINED_BY[step]


def figures_of(kind: Kind, facts: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """What the steps say came out, as far as it is known. facts: by step."""
    trained = facts.get(CONTROLNET if kind == "controlnet" else SPLAT, {})
    found = {"loss": trained.get("loss_last")}
    if kind == "controlnet":
        found |= {f"{_SAMPLES}{name}": value for name, value in trained.items() if name.startswith("psnr_")}
        return _numbers(found)
    points = facts.get("lift", {}).get("points")
    if is_number(points):
        added = facts.get("complete", {}).get("points_added", 0)
        points += added if is_number(added) else 0
    psnr_db = trained.get("panorama_psnr_db", trained.get("fitted_psnr_db"))
    found = {"points": points, "gaussians": trained.get("gaussians"), "psnr_db": psnr_db, **found}
    if kind == "fit":
        scores = [name for name in trained if name not in _NO_SCORES and not name.endswith("_psnr_db")]
        found |= {f"{_HELD_OUT}{name}": trained[name] for name in scores}
    return _numbers(found)


def signatures_in(folder: Path) -> dict[str, float]:
    """The failure signatures that a world's report shows; none where it was not made, or is being made."""
    try:
        figures = json.loads((folder / "signatures.json").read_text(encoding="utf-8"))["figures"]
        return _numbers({f"{_REPORT}{name}": value for name, value in figures.items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def title_of(figure: str) -> str:
    """A figure as a column has it."""
    if figure.startswith(_HELD_OUT):
        return f"held-out {figure.removeprefix(_HELD_OUT)}"
    if figure.startswith(_SAMPLES):
        return f"samples' PSNR, {figure.removeprefix(_SAMPLES + 'psnr_')} (dB)"
    if figure.startswith(_REPORT):
        return f"{figure.removeprefix(_REPORT)} (report)"
    return TITLES.get(figure, figure)


def better_of(column: str) -> str | None:
    """`lower` or `higher`, for columns of our own and of the metrics that conf/table knows; None for others."""
    if column in _BETTER:
        return _BETTER[column]
    if column.startswith("samples' PSNR"):
        return "higher"
    return _better_in_tables().get(column.removeprefix("held-out ").partition(" (")[0])


@lru_cache(maxsize=1)
def _better_in_tables() -> dict[str, str]:
    from omegaconf import OmegaConf

    from worldgen.config import CONF_DIR

    found = [OmegaConf.to_container(OmegaConf.load(path)) for path in sorted((CONF_DIR / "table").glob("*.yaml"))]
    tables = [table for table in found if isinstance(table, dict)]
    return {name: str(column["better"]) for table in tables for name, column in (table.get("columns") or {}).items()}


def _numbers(found: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in found.items() if is_number(value)}
