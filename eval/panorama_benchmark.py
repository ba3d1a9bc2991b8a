"""How good are the panoramas? Crops of real 360° panoramas are turned into panoramas and compared with the truth.

    python -m eval.panorama_benchmark --heuristics anchored,sequential,adhoc,walk --count 4 --out pictures

Like is compared with like: the photo is cropped, and the panorama is made, at the truth's own pixel density, and both
are rendered by the same views. BRISQUE and NIQE mean little on pictures that were enlarged much, so their summary is
over the fine truths (1024 pixels wide or more, seen from several sides); colours and seams are summarised over all.
`walk` is the naive reference: 90° views in 40° steps, hard borders, no order. The last line is one JSON object.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from eval.metrics import brisque, niqe, psnr
from eval.seams import border_seam, view_seam, wrap_seam
from eval.truth import crop, truth_panoramas
from worldgen.geometry.cameras import look
from worldgen.geometry.equirect import to_perspective
from worldgen.models.migan import MiganInpainter
from worldgen.models.protocols import Inpainter
from worldgen.recipe.panorama import SCHEDULES, PanoramaSettings, embed, paint_view, synthesize
from worldgen.recipe.schedules import Look
from worldgen.types import Camera, Panorama, Prompts, View

FINE_WIDTH = 1024
PHOTO_FOV_DEG = 80.0
SCORED_VIEWS, SCORED_FOV_DEG, SCORED_SIZE = 6, 90.0, 512
PROMPTS = Prompts("a real place", "the sky or ceiling", "the ground or floor", indoor=False, source="benchmark")


@dataclass(frozen=True, eq=False)
class Case:
    """One truth [3, H, W], turned so that the photo is its middle, and the photo."""

    name: str
    truth: Tensor
    photo: View


@dataclass(frozen=True)
class Scores:
    """What is measured on one panorama. brisque_gain and niqe_gain: minus the truth's; colours: in 1/255."""

    brisque_gain: float
    niqe_gain: float
    sky_colour_error: float
    ground_colour_error: float
    photo_psnr_db: float
    wrap_seam: float
    worst_view_seam: float
    photo_seam: float
    seconds: float


def cases(max_width: int) -> Iterator[Case]:
    """Fine truths are photographed in three directions, coarse ones in one."""
    for name, rgb in truth_panoramas():
        fine = rgb.shape[2] >= FINE_WIDTH
        if rgb.shape[2] > max_width:
            rgb = F.interpolate(rgb[None], (max_width // 2, max_width), mode="area")[0]
        for yaw_deg in (-31, 89, 209) if fine else (0,):
            truth = rgb.roll(round(-yaw_deg / 360 * rgb.shape[2]), dims=2)
            yield Case(f"{name}{yaw_deg:+d}" if fine else name, truth, take_photo(truth))


def take_photo(panorama: Tensor) -> View:
    """A level 4:3 photo of the middle of a panorama [3, H, W], at the panorama's own density in its centre."""
    focal = panorama.shape[2] / (2 * torch.pi)
    width = 4 * round(2 * focal * torch.tensor(PHOTO_FOV_DEG / 2).deg2rad().tan().item() / 4)
    height = width * 3 // 4
    rgb = crop(panorama, 0.0, PHOTO_FOV_DEG, width, height)
    return View(Camera.from_fov(width, height, PHOTO_FOV_DEG), rgb, torch.ones(height, width, dtype=torch.bool))


def paint(photo: View, heuristic: str, width: int, inpainter: Inpainter) -> Panorama:
    """A panorama `width` pixels wide by one of the recipe's heuristics, or by `walk`."""
    if heuristic != "walk":
        return synthesize(photo, PROMPTS, inpainter, PanoramaSettings(heuristic=heuristic, width=width))
    settings = PanoramaSettings(width=width, feather=0.0)
    canvas = embed(photo, width)
    for index, view in enumerate(walk_looks()):
        canvas = paint_view(canvas, view, PROMPTS.atmosphere, inpainter, settings, index)
    return Panorama(canvas.rgb.clamp(0, 1), canvas.photo)


def walk_looks() -> list[Look]:
    """Round the horizon in 40° steps to the right, then up, then down."""
    rings = [Look(yaw, pitch, 90.0, "atmosphere") for pitch in (0.0, 45.0, -45.0) for yaw in range(0, 360, 40)]
    return [*rings, Look(0.0, 90.0, 90.0, "sky"), Look(0.0, -90.0, 90.0, "ground")]


def score(panorama: Panorama, case: Case, looks: list[Look], seconds: float) -> Scores:
    """Compares a panorama with the truth."""
    sky, ground = (_colour_error(panorama.rgb, case.truth, part) for part in (_top_quarter, _bottom_quarter))
    views, true_views = scored_views(panorama.rgb), scored_views(case.truth)
    return Scores(
        brisque_gain=_mean_gain(brisque, views, true_views),
        niqe_gain=_mean_gain(niqe, views, true_views),
        sky_colour_error=sky,
        ground_colour_error=ground,
        photo_psnr_db=photo_psnr(panorama.rgb, case.photo),
        wrap_seam=wrap_seam(panorama.rgb),
        worst_view_seam=max((view_seam(panorama.rgb, _camera(view)) for view in looks), default=1.0),
        photo_seam=border_seam(panorama.rgb, panorama.photo),
        seconds=seconds,
    )


def scored_views(panorama: Tensor) -> list[Tensor]:
    """The views that BRISQUE and NIQE look at: once round the horizon."""
    yaws_deg = [i * 360 / SCORED_VIEWS for i in range(SCORED_VIEWS)]
    cameras = [Camera.from_fov(SCORED_SIZE, SCORED_SIZE, SCORED_FOV_DEG, look(yaw)) for yaw in yaws_deg]
    return [to_perspective(panorama, camera, "bicubic").clamp(0, 1) for camera in cameras]


def photo_psnr(panorama: Tensor, photo: View) -> float:
    """dB between the photo and its camera's view of the panorama, at the panorama's density if that is coarser."""
    rgb, camera = photo.rgb, photo.camera
    shrink = camera.fx / (panorama.shape[2] / (2 * torch.pi))
    if shrink > 1:
        camera = camera.resized(round(camera.width / shrink), round(camera.height / shrink))
        size = (camera.height, camera.width)
        rgb = F.interpolate(rgb[None], size, mode="bicubic", antialias=True, align_corners=False)[0].clamp(0, 1)
    return psnr(to_perspective(panorama, camera, "bicubic").clamp(0, 1), rgb)


def _mean_gain(metric, views: list[Tensor], true_views: list[Tensor]) -> float:
    return statistics.fmean(map(metric, views)) - statistics.fmean(map(metric, true_views))


def _top_quarter(panorama: Tensor) -> Tensor:
    return panorama[:, : panorama.shape[1] // 4]


def _bottom_quarter(panorama: Tensor) -> Tensor:
    return panorama[:, -(panorama.shape[1] // 4) :]


def _colour_error(panorama: Tensor, truth: Tensor, part) -> float:
    """How far the mean colours of a part are apart, mean over the channels, in 1/255."""
    return float((part(panorama).mean(dim=(1, 2)) - part(truth).mean(dim=(1, 2))).abs().mean() * 255)


def _camera(view: Look) -> Camera:
    return Camera.from_fov(64, 64, view.fov_deg, look(view.yaw_deg, view.pitch_deg))


def _looks(heuristic: str) -> list[Look]:
    if heuristic == "walk":
        return walk_looks()
    schedule = SCHEDULES.get(heuristic)
    return [*schedule.with_anchor, *schedule.without_anchor] if schedule else []


def summarise(scores: dict[str, Scores], fine: set[str]) -> dict[str, float]:
    """One heuristic's summary: means, but medians for colours; BRISQUE and NIQE over the fine truths alone."""

    def values(field: str, names: set[str]) -> list[float]:
        return [getattr(found, field) for name, found in scores.items() if name in names]

    everything = set(scores)
    colours = values("sky_colour_error", everything) + values("ground_colour_error", everything)
    return {
        "cases": len(scores),
        "brisque_gain": _mean(values("brisque_gain", fine)),
        "niqe_gain": _mean(values("niqe_gain", fine)),
        "colour_error_median": statistics.median(colours),
        **{
            field: _mean(values(field, everything))
            for field in ("photo_psnr_db", "wrap_seam", "worst_view_seam", "photo_seam", "seconds")
        },
    }


def _mean(values: list[float]) -> float | None:
    return statistics.fmean(values) if values else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heuristics", default="anchored,sequential,adhoc,walk", help="separated by commas")
    parser.add_argument("--count", type=int, help="only the first so many photos")
    parser.add_argument("--max-width", type=int, default=2048, help="finer truths are reduced to this width first")
    parser.add_argument("--out", type=Path, help="where the panoramas are kept")
    arguments = parser.parse_args()
    heuristics = arguments.heuristics.split(",")
    inpainter = MiganInpainter()
    found: dict[str, dict[str, Scores]] = {heuristic: {} for heuristic in heuristics}
    fine = set()
    for case in islice(cases(arguments.max_width), arguments.count):
        if case.truth.shape[2] >= min(FINE_WIDTH, arguments.max_width):
            fine.add(case.name)
        for heuristic in heuristics:
            start = time.perf_counter()
            panorama = paint(case.photo, heuristic, case.truth.shape[2], inpainter)
            seconds = time.perf_counter() - start
            found[heuristic][case.name] = scores = score(panorama, case, _looks(heuristic), seconds)
            print(f"{case.name:24} {heuristic:10}", *(f"{k} {v:.2f}" for k, v in asdict(scores).items()), flush=True)
            if arguments.out:
                arguments.out.mkdir(parents=True, exist_ok=True)
                pixels = (panorama.rgb.permute(1, 2, 0) * 255 + 0.5).byte().numpy()
                Image.fromarray(pixels).save(arguments.out / f"{case.name}-{heuristic}.png")
    print(json.dumps({heuristic: summarise(found[heuristic], fine) for heuristic in heuristics}))


if __name__ == "__main__":
    main()
