"""What does completion at the paper's size cost beside its networks? `python -m tests.benchmarks.completion_scale`

A room with pillars as 10 million points, all 196 views of the cube at 1024 px, in rounds of 14, kept on disk as a run
keeps them; an inpainter that smooths and the room's true depth. The last line is one JSON object.
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from tests.benchmarks.completion import PILLARS
from tests.fakes import Fake, SmoothInpainter
from tests.scenes import BoxRoom
from worldgen.geometry.cameras import distance_to_zdepth
from worldgen.models.inpainting_completer import InpaintingCompleter
from worldgen.present.console import Reporter
from worldgen.recipe.complete import CompleteSettings, complete
from worldgen.runs.usage import PeakMemory
from worldgen.runs.visits import KeptVisits
from worldgen.types import Camera, PointCloud, Prompts, ViewDepth

ROOM = BoxRoom(pillars=PILLARS)
POINTS, SIZE, VIEWS, AT_ONCE = 10_000_000, 1024, 196, 14
_CHUNK = 500_000
_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


class RoomsDepth(Fake):
    """What a network would say that is right up to scale."""

    def __call__(self, rgb: Tensor, camera: Camera) -> ViewDepth:
        zdepth = 2 * distance_to_zdepth(camera, ROOM.view(camera).measured)
        return ViewDepth(zdepth, torch.ones_like(zdepth, dtype=torch.bool))


def room_points(count: int) -> list[PointCloud]:
    """The room as the origin sees it, evenly all round (Fibonacci's sphere), in chunks."""
    chunks = []
    for start in range(0, count, _CHUNK):
        number = torch.arange(start, min(start + _CHUNK, count), dtype=torch.float64)
        height, angle = 1 - (2 * number + 1) / count, number * _GOLDEN_ANGLE
        radius = (1 - height.square()).sqrt()
        rays = torch.stack([radius * angle.cos(), height, radius * angle.sin()], dim=1).float()
        rgb, distance = ROOM.trace(torch.zeros(3), rays)
        spacing = distance * math.sqrt(4 * math.pi / count)
        chunks.append(PointCloud(rays * distance[:, None], rgb, -rays, spacing))
    return chunks


def measured(points: int, size: int, views: int, at_once: int) -> dict[str, Any]:
    """Seconds, megabytes and counts. views: of the cube's 196, the first ones."""
    cloud = PointCloud.joined(room_points(points))
    settings = CompleteSettings("all", views, at_once, size=size, min_hole=0.0, max_hole=1.0, pinhole_px=0)
    prompts = Prompts("a room", "a ceiling", "a floor", True, "benchmark")
    began = time.perf_counter()
    with TemporaryDirectory() as folder, PeakMemory() as peak:
        visits = KeptVisits(Path(folder))
        completer = InpaintingCompleter(SmoothInpainter())
        done = complete(cloud, prompts, completer, RoomsDepth(), settings, visits, Reporter().track)
        visits.finish()
        kept_mb = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
    return {
        "points": len(cloud),
        "view_px": size,
        "visits": done.visits,
        "views_with_holes": done.views,
        "points_added": done.points,
        "seconds": round(time.perf_counter() - began, 1),
        "peak_mb": peak.mb,
        "disk_mb": round(kept_mb, 1),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--points", type=int, default=POINTS)
    parser.add_argument("--size", type=int, default=SIZE, help="pixels of a view")
    parser.add_argument("--views", type=int, default=VIEWS, help="the first ones of the cube's 196")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="views of a round")
    chosen = parser.parse_args(arguments)
    print(json.dumps(measured(chosen.points, chosen.size, chosen.views, chosen.at_once)))


if __name__ == "__main__":
    main()
