"""What trained ControlNets make of views that they never saw: painted, and each scored beside the true one."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from train.controlnet.samples import paint
from train.data.pairs import ConditionedBatch, ConditionedSample, collate
from worldgen.errors import UserError
from worldgen.models.diffusion import DiffusionInpainter
from worldgen.models.protocols import Inpainter
from worldgen.progress import Track, untracked
from worldgen.types import Prompt

_LEAST = 1e-10  # a mean squared error that counts as none
_SEED_OF_PAINTING = 7


@dataclass(frozen=True)
class PaintedView:
    """One view by one network. trained: the seed of its training; situation: what the conditions were warped with;
    baseline: how far the condition's place is, in parts of its median distance; known: share of the view that the
    condition shows. PSNR to the true view, dB: psnr of the whole view, in_holes and in_known of its parts, as painted;
    put_back: of the whole, with the known pixels put back, as the recipe does it."""

    method: str
    trained: int
    situation: str
    scene: str
    number: int
    baseline: float
    known: float
    psnr: float
    in_holes: float
    in_known: float
    put_back: float


@dataclass(frozen=True, eq=False)
class Painter:
    """Who paints: the inpainter steered by a ControlNet, by its method and the seed of its training; by itself, where
    network is None; or another inpainter instead."""

    method: str
    trained: int
    network: Any = None
    instead: Inpainter | None = None

    @torch.no_grad()
    def paint(self, inpainter: DiffusionInpainter, batch: ConditionedBatch, seeds: Sequence[int]) -> Tensor:
        """[B, 3, H, W] in [0, 1], as painted."""
        if self.instead is None:
            return paint(inpainter, self.network, batch, seeds)
        return self.instead(batch.condition, batch.known.float(), [Prompt(text) for text in batch.prompts], seeds)


def painted_views(
    inpainter: DiffusionInpainter,
    painters: Sequence[Painter],
    situations: Mapping[str, Sequence[ConditionedSample]],
    batch: int,
    track: Track = untracked,
) -> tuple[list[PaintedView], dict[tuple[str, int, str, int], Tensor]]:
    """Scores of all painters in all situations, and the pictures [3, H, W] by method, trained, situation and number.

    Every painter starts from the same noise for the same view.
    """
    tasks = [
        (painter, situation, samples[start : start + batch])
        for situation, samples in situations.items()
        for start in range(0, len(samples), batch)
        for painter in painters
    ]
    rows: list[PaintedView] = []
    pictures: dict[tuple[str, int, str, int], Tensor] = {}
    for painter, situation, samples in track(tasks, len(tasks), "painting views"):
        seeds = [_SEED_OF_PAINTING * 1_000_003 + sample.number for sample in samples]
        answers = painter.paint(inpainter, collate(samples), seeds)
        for sample, rgb in zip(samples, answers, strict=True):
            rows.append(_scored(painter, situation, sample, rgb))
            pictures[painter.method, painter.trained, situation, sample.number] = rgb
    return rows, pictures


def _scored(painter: Painter, situation: str, sample: ConditionedSample, rgb: Tensor) -> PaintedView:
    error = (rgb - sample.rgb).square().mean(dim=0)
    whole = torch.where(sample.known, sample.condition, rgb)
    return PaintedView(
        painter.method,
        painter.trained,
        situation,
        sample.scene,
        sample.number,
        round(sample.baseline, 5),
        round(float(sample.known.float().mean()), 5),
        _psnr_db(error),
        _psnr_db(error[~sample.known]),
        _psnr_db(error[sample.known]),
        _psnr_db((whole - sample.rgb).square()),
    )


def _psnr_db(error: Tensor) -> float:
    """NaN of nothing."""
    return round(-10 * math.log10(max(float(error.mean()), _LEAST)), 5) if error.numel() else math.nan


def save_rows(path: Path, rows: Sequence[PaintedView]) -> None:
    """As CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(PaintedView)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def load_rows(path: Path) -> list[PaintedView]:
    """What `save_rows` wrote. Raises UserError for another file."""
    kinds: dict[str, Any] = {field.name: field.type for field in fields(PaintedView)}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != list(kinds):
            raise UserError(f"{path}: not of painted views, wanted the columns {', '.join(kinds)}")
        return [PaintedView(**{name: kinds[name](value) for name, value in row.items()}) for row in reader]
