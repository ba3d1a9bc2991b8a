"""What W&B shows of a step: pictures, points, and the curves of a fit."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldgen.runs.folder import StepResult
from worldgen.runs.steps_table import COMPLETE, DEPTH, LIFT, PANORAMA, REFINE

if TYPE_CHECKING:
    import wandb
    from numpy import ndarray

PICTURES = {PANORAMA: "panorama.png", REFINE: "panorama.png", DEPTH: "distance.png"}
CLOUDS = {LIFT: "cloud.safetensors", COMPLETE: "cloud.safetensors"}
_NAMES = {PANORAMA: "panorama", REFINE: "refined", DEPTH: "distances"}
_STEP = "step"


def media_of(result: StepResult, max_points: int, pictures: "Mapping[str, ndarray]") -> dict[str, Any]:
    """`pictures/...` and `<step>/cloud`, as W&B takes them. pictures: more of them, [H, W, 3] uint8."""
    import wandb

    media: dict[str, Any] = {f"pictures/{name}": wandb.Image(picture) for name, picture in pictures.items()}
    picture = result.path / PICTURES.get(result.name, "")
    if picture.is_file():
        media[f"pictures/{_NAMES[result.name]}"] = wandb.Image(str(picture))
    cloud = result.path / CLOUDS.get(result.name, "")
    if cloud.is_file() and (points := points_of(cloud, max_points)) is not None:
        media[f"{result.name}/cloud"] = wandb.Object3D(points)
    return media


def points_of(path: Path, most: int) -> "ndarray | None":
    """A cloud's points as W&B shows them: [N, 6] metres and 0..255 colours, y up, z backward; None without any.

    At most `most`, drawn at random, the same ones every time. Rounded to millimetres: they are kept as text.
    """
    import numpy as np
    import torch

    from worldgen.io.clouds import load_cloud

    cloud = load_cloud(path)
    if not len(cloud):
        return None
    drawn = torch.randperm(len(cloud), generator=torch.Generator().manual_seed(0))[:most].sort().values
    place = cloud.xyz[drawn].double().numpy() * [1, -1, -1]
    colour = (cloud.rgb[drawn].clamp(0, 1) * 255).round().double().numpy()
    return np.concatenate([place.round(3), colour], axis=1)


def curves_of(path: Path) -> list[tuple[int, dict[str, float]]]:
    """(step, values) of each row of a training's metrics.csv; nothing without one."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [(int(row[_STEP]), {key: float(row[key]) for key in row if key != _STEP and row[key]}) for row in rows]


def log_curves(run: "wandb.Run", section: str, rows: Sequence[tuple[int, Mapping[str, float]]]) -> None:
    """`<section>/<name>` over `<section>/step`, whatever else the run logs meanwhile."""
    if not rows:
        return
    define_curves(run, section)
    for step, values in rows:
        run.log(curve_point(section, step, values))


def define_curves(run: "wandb.Run", section: str) -> None:
    """Has W&B draw a section's values over the section's own steps."""
    run.define_metric(f"{section}/{_STEP}", hidden=True)
    run.define_metric(f"{section}/*", step_metric=f"{section}/{_STEP}")


def curve_point(section: str, step: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of one step under their section's keys."""
    return {f"{section}/{_STEP}": step, **{f"{section}/{name}": value for name, value in values.items()}}
