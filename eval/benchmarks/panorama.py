"""How good are the panoramas? Crops of real 360° panoramas are turned into panoramas and compared with the truth.

    python -m eval.benchmarks.panorama --heuristics anchored,sequential,adhoc,walk --count 4 --out pictures

Like is compared with like: the photo is cropped, and the panorama is made, at the truth's own pixel density, and both
are rendered by the same views. BRISQUE and NIQE mean little on pictures that were enlarged much, so their summary is
over the fine truths (1024 pixels wide or more, seen from several sides); colours and seams are summarised over all.
`walk` is the naive reference: 90° views in 40° steps, hard borders, nothing else. The last line is one JSON object.
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from eval.benchmarks.panorama_scores import against_truth, looks_of, photo_psnr_db, seams
from eval.command import run
from eval.synthetic.panoramas import crop, truth_panoramas
from worldgen.embedded.migan import MiganInpainter
from worldgen.embedded.prefill import QuiltedPrefill
from worldgen.embedded.sharpen import Sharpen
from worldgen.embedded.template_prompts import TemplatePrompter
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import from_perspective, mask_to_perspective, to_perspective
from worldgen.models.protocols import Inpainter
from worldgen.recipe.panorama import PanoramaSettings, synthesize
from worldgen.recipe.schedules import ViewSpec
from worldgen.runs.artifacts import save_image
from worldgen.types import Camera, Panorama, View

FINE_WIDTH = 1024
PHOTO_FOV_DEG = 80.0
WALK = (
    *(ViewSpec(yaw, pitch, 90.0, "atmosphere") for pitch in (0.0, 45.0, -45.0) for yaw in range(0, 360, 40)),
    ViewSpec(0.0, 90.0, 90.0, "sky"),
    ViewSpec(0.0, -90.0, 90.0, "ground"),
)
VIEW_SIZE = 512
SUMMARY_MEANS = ("photo_psnr_db", "wrap_seam", "worst_view_seam", "truths_worst_view_seam", "photo_seam", "seconds")

Scores = dict[str, float]


@dataclass(frozen=True, eq=False)
class Case:
    """One truth [3, H, W], turned so that the photo is its middle, and the photo."""

    name: str
    truth: Tensor
    photo: View
    fine: bool


def cases(max_width: int) -> Iterator[Case]:
    """Fine truths are photographed in three directions, coarse ones in one."""
    for name, rgb in truth_panoramas():
        fine = rgb.shape[2] >= FINE_WIDTH
        if rgb.shape[2] > max_width:
            rgb = F.interpolate(rgb[None], (max_width // 2, max_width), mode="area")[0]
        for yaw_deg in (-31, 89, 209) if fine else (0,):
            truth = rgb.roll(round(-yaw_deg / 360 * rgb.shape[2]), dims=2)
            yield Case(f"{name}{yaw_deg:+d}" if fine else name, truth, take_photo(truth), fine)


def take_photo(panorama: Tensor) -> View:
    """A level 4:3 photo of the middle of a panorama [3, H, W], at the panorama's own density in its centre."""
    focal = panorama.shape[2] / (2 * math.pi)
    width = 4 * round(focal * math.tan(math.radians(PHOTO_FOV_DEG / 2)) / 2)
    height = width * 3 // 4
    rgb = crop(panorama, 0.0, PHOTO_FOV_DEG, width, height)
    return View(Camera.from_fov(width, height, PHOTO_FOV_DEG), rgb, torch.ones(height, width, dtype=torch.bool))


def walk(photo: View, width: int, view_size: int, inpainter: Inpainter) -> Panorama:
    """The reference: every view as it comes, whatever is unknown in it painted, hard borders."""
    rgb, inside = from_perspective(photo.rgb, photo.camera, width // 2, width, "bicubic")
    known, own = inside.clone(), inside
    for step, view in enumerate(WALK):
        camera = Camera.from_fov(view_size, view_size, view.fov_deg, look_at(view.yaw_deg, view.pitch_deg))
        seen = mask_to_perspective(known, camera)
        if seen.all():
            continue
        painted = inpainter(to_perspective(rgb, camera).clamp(0, 1)[None], seen[None].float(), [""], [step])[0]
        spread, inside = from_perspective(painted, camera, width // 2, width)
        rgb = torch.where(inside & ~known, spread, rgb)
        known |= inside
    return Panorama(rgb.clamp(0, 1), own)


def paint(photo: View, heuristic: str, width: int, inpainter: Inpainter, view_size: int = VIEW_SIZE) -> Panorama:
    """A panorama `width` pixels wide by one of the recipe's heuristics, or by `walk`."""
    if heuristic == "walk":
        return walk(photo, width, view_size, inpainter)
    hooks = {"prefill": QuiltedPrefill(), "finish": Sharpen()}
    settings = PanoramaSettings(heuristic=heuristic, width=width, view_size=view_size, **hooks)
    return synthesize(photo, TemplatePrompter()(photo.rgb), inpainter, settings)


def score(case: Case, heuristic: str, panorama: Panorama, seconds: float) -> Scores:
    looks = WALK if heuristic == "walk" else looks_of(heuristic)
    return {
        **asdict(against_truth(panorama.rgb, case.truth)),
        "photo_psnr_db": photo_psnr_db(panorama.rgb, case.photo),
        **asdict(seams(panorama, looks)),
        "truths_worst_view_seam": seams(Panorama(case.truth, panorama.photo), looks).worst_view_seam,
        "seconds": seconds,
    }


def summarise(scores: list[tuple[Case, Scores]]) -> dict[str, float | None]:
    """Of one heuristic: the median of the sky's and ground's errors, BRISQUE and NIQE over the fine, means over all."""
    fine = [found for case, found in scores if case.fine]
    colours = [found[part] for _, found in scores for part in ("sky_colour_error", "ground_colour_error")]
    return {
        "cases": len(scores),
        "fine_cases": len(fine),
        "brisque_gain": _mean("brisque_gain", fine),
        "niqe_gain": _mean("niqe_gain", fine),
        "colour_error_median": statistics.median(colours),
        **{name: _mean(name, [found for _, found in scores]) for name in SUMMARY_MEANS},
    }


def _mean(name: str, scores: list[Scores]) -> float | None:
    return statistics.fmean(found[name] for found in scores) if scores else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heuristics", default="anchored,sequential,adhoc,walk", help="separated by commas")
    parser.add_argument("--count", type=int, help="only the first so many photos")
    parser.add_argument("--max-width", type=int, default=2048, help="finer truths are reduced to this width first")
    parser.add_argument("--out", type=Path, help="where the panoramas are kept")
    arguments = parser.parse_args()
    heuristics = arguments.heuristics.split(",")
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
    inpainter = MiganInpainter()
    found: dict[str, list[tuple[Case, Scores]]] = {heuristic: [] for heuristic in heuristics}
    for case in islice(cases(arguments.max_width), arguments.count):
        for heuristic in heuristics:
            began = time.perf_counter()
            panorama = paint(case.photo, heuristic, case.truth.shape[2], inpainter)
            scores = score(case, heuristic, panorama, time.perf_counter() - began)
            found[heuristic].append((case, scores))
            print(f"{case.name:24} {heuristic:10}", *(f"{k} {v:.2f}" for k, v in scores.items()), flush=True)
            if arguments.out:
                save_image(arguments.out / f"{case.name}-{heuristic}.png", panorama.rgb)
    print(json.dumps({heuristic: summarise(scores) for heuristic, scores in found.items()}))


if __name__ == "__main__":
    sys.exit(run(main))
