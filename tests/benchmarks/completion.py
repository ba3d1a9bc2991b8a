"""How fast are point rendering and completion, inpainter aside? `python -m tests.benchmarks.completion`

A textured room with three pillars, 2048x1024 panorama, 512 px views. The last line is one JSON object, milliseconds.
"""

import json
from typing import Any

import torch

from tests.benchmarks.projection import best_ms
from tests.fakes import FlatDepth, SmoothInpainter
from tests.scenes import BoxRoom
from worldgen.embedded.completer import DisocclusionCompleter
from worldgen.geometry.cameras import look_at
from worldgen.geometry.fill import split_holes
from worldgen.geometry.points import render_points
from worldgen.models.protocols import CompleteViews
from worldgen.recipe.cube import cube_cameras, cube_positions
from worldgen.recipe.hole_scores import HoleScores, reachable
from worldgen.recipe.lift import LiftSettings, lift
from worldgen.types import Camera, CompletedView, IncompleteView, PointCloud, Prompts

HEIGHT, VIEW = 1024, 512
PILLARS = (
    ((0.6, -1.5, 2.0), (1.1, 1.6, 2.5)),
    ((-1.9, -0.4, 1.2), (-1.4, 1.6, 1.8)),
    ((-0.5, 0.3, -3.0), (0.7, 1.6, -2.4)),
)


def measured(height: int, size: int) -> dict[str, Any]:
    """Counts, shares, and milliseconds, of a panorama of so many rows and square views of so many pixels."""
    panorama, distances = BoxRoom(pillars=PILLARS).panorama(height)
    cloud = lift(panorama.rgb, distances, LiftSettings())
    corner = torch.tensor([-1.0, 1.0, 1.0])
    camera = Camera.from_fov(size, size, 90, look_at(30, 0, corner))
    painter = SmoothInpainter()
    outdoors = Prompts("", "", "", False, "benchmark")
    completes = DisocclusionCompleter(painter, FlatDepth()).begin(cloud, outdoors)
    cameras = cube_cameras(cube_positions(2.0), size, 90)
    holes = ~render_points(cloud, camera).known
    shown, known = panorama.rgb[None, :, :size, :size], (~holes[None]).float()
    return {
        "points": len(cloud),
        "holes": round(holes.float().mean().item(), 3),
        "render_points": best_ms(lambda: render_points(cloud, camera)),
        "scores of 196 cameras": best_ms(lambda: HoleScores(cloud, cameras)),
        "reachable positions": best_ms(lambda: reachable(cloud, cube_positions(2.0), 0.3)),
        "one view, smooth inpainter": best_ms(lambda: completed_view(completes, cloud, camera)),
        "the smooth inpainter alone": best_ms(lambda: painter(shown, known, [""], [0])),
    }


def completed_view(completes: CompleteViews, cloud: PointCloud, camera: Camera) -> CompletedView:
    """One view from beginning to end."""
    render = render_points(cloud, camera)
    holes, _ = split_holes(render.known, pinhole_px=2)
    return completes([IncompleteView(render, holes)], [""], [0])[0]


def main() -> None:
    print(json.dumps(measured(HEIGHT, VIEW)))


if __name__ == "__main__":
    main()
