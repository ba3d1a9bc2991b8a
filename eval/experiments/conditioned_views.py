"""Views painted from their neighbours' points by trained ControlNets: to files that are scored, and compared here."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from eval.experiments.painted_views import Painter, painted_views, save_rows
from eval.experiments.warp_results import Comparison, compare
from eval.protocols.pairs import PREDICTED, TRUE
from train.data.pairs import ConditionedSample
from worldgen.config import choice, instantiate
from worldgen.errors import expect
from worldgen.models.controlnet import load_controlnet
from worldgen.models.loading import one_line
from worldgen.present.console import Reporter
from worldgen.runs.artifacts import save_image

ALONE = "no ControlNet"
"""The method that is the inpainter by itself."""
_SHOWN = 8  # views in the picture


def paint_and_compare(
    out: Path,
    config: DictConfig,
    controlnets: Sequence[tuple[str, int, Path]],
    situations: Mapping[str, DictConfig],
    views: int,
    batch: int,
    beside: Sequence[str] = (),
) -> list[Comparison]:
    """What the views of all situations say. Writes views.csv and samples.png to `out`, and the first situation's views
    to <out>/<method>-<training>/pred and true.

    config: of `train.controlnet`, for the inpainter. controlnets: method, seed of its training, folder; the first of
    each method is in the picture. situations: data, drawn alike. beside: choices of inpainter that paint the same
    views, to compare with.
    """
    inpainter, runtime = instantiate(config.inpainter), instantiate(config.runtime)
    inpainter.load(replace(runtime, batch=batch))
    painters = [Painter(ALONE, 0), *(Painter(*each[:2], _loaded(each[2], runtime)) for each in controlnets)]
    others = {name: instantiate(choice("inpainter", name)) for name in beside}
    for name, other in others.items():
        other.load(runtime)
        painters.append(Painter(name, 0, instead=other))
    samples = {name: _samples(data, views) for name, data in situations.items()}
    out.mkdir(parents=True, exist_ok=True)
    reporter = Reporter()
    try:
        rows, pictures = painted_views(inpainter, painters, samples, batch, reporter.track)
    finally:
        reporter.close()
    first, shown = next(iter(samples.items()))
    of_first = {key[:2]: [pictures[*key[:2], first, each.number] for each in shown] for key in pictures}
    for (method, trained), painted in of_first.items():
        if method != ALONE and method not in others:
            _save(out / f"{method}-{trained}", shown, painted)
    columns: dict[str, Sequence[Tensor]] = {}
    for (method, _), painted in of_first.items():
        columns.setdefault(method, painted)
    save_image(out / "samples.png", sheet(shown[:_SHOWN], list(columns.values())))
    save_rows(out / "views.csv", rows)
    return compare(rows)


def sheet(samples: Sequence[ConditionedSample], columns: Sequence[Sequence[Tensor]]) -> Tensor:
    """[3, N * H, (2 + C) * W]: of each view its condition, what was painted, column by column, and the truth."""
    rows = [
        torch.cat([sample.condition, *(column[number] for column in columns), sample.rgb], dim=2)
        for number, sample in enumerate(samples)
    ]
    return torch.cat(rows, dim=1)


def _loaded(folder: Path, runtime: Any) -> Any:
    expect("methods", folder, (folder / "config.json").is_file(), "the folder of a ControlNet of train.controlnet")
    with one_line(f"{folder}: cannot be loaded"):
        network = load_controlnet(folder, runtime)
    return network.to(runtime.torch_device).eval()


def _samples(data: DictConfig, views: int) -> list[ConditionedSample]:
    samples = instantiate(data)(views, 0)
    return [samples[number] for number in range(views)]


def _save(folder: Path, samples: Sequence[ConditionedSample], painted: Sequence[Tensor]) -> None:
    for name in (PREDICTED, TRUE):
        shutil.rmtree(folder / name, ignore_errors=True)  # views of an earlier run would be scored with these
        (folder / name).mkdir(parents=True)
    for sample, rgb in zip(samples, painted, strict=True):
        name = f"{sample.scene}-{sample.number:03}.png"
        save_image(folder / PREDICTED / name, rgb)
        save_image(folder / TRUE / name, sample.rgb)
