"""How fast is a pair warped, beside plain z-buffering in torch? `python -m tests.benchmarks.warp`

The reference throws every pixel into the nearest one of the other picture and keeps the closest, by scatter_reduce: no
closed surfaces, no occlusion through gaps. The best of several runs counts. The last line is one JSON object, times in
milliseconds, `cpu_ms` those of all threads together, which a busy machine changes less; `share` is how much of the mask
is as the room's own geometry has it, edges included.
"""

import json
import time
from collections.abc import Callable

import torch
from torch import Tensor

from tests.scenes import BoxRoom
from worldgen.geometry.cameras import look_at, project, unproject
from worldgen.geometry.points import render_points, view_points
from worldgen.geometry.warp import came_back, forward_warp, round_trip_warp
from worldgen.types import Camera, View

SIZES = (256, 1024)
FOV_DEG = 80.0
REPEATS = 12
WANTED_MS = {256: 5, 1024: 60}  # on two cores


def best_ms(call: Callable[[], object]) -> dict[str, float]:
    """Of the fastest of several calls, and of the one with least work; the first, which compiles, does not count."""
    call()
    times = []
    for _ in range(REPEATS):
        began, worked = time.perf_counter(), time.process_time()
        call()
        times.append((time.perf_counter() - began, time.process_time() - worked))
    wall, work = (min(each) * 1e3 for each in zip(*times, strict=True))
    return {"ms": round(wall, 2), "cpu_ms": round(work, 2)}


def plain_survivors(view: View, camera: Camera) -> Tensor:
    """bool [H, W]: pixels that are the nearest of those that fall into the same one."""
    xyz = unproject(view.camera, view.measured)
    pixel, zdepth = project(camera, xyz)
    column, row = pixel.floor().long().unbind(-1)
    inside = (zdepth > 0) & (column >= 0) & (row >= 0) & (column < camera.width) & (row < camera.height)
    cell = (row * camera.width + column)[inside]
    nearest = torch.full((camera.height * camera.width,), torch.inf)
    nearest.scatter_reduce_(0, cell, zdepth[inside], "amin")
    survives = inside.clone()
    survives[inside] = zdepth[inside] <= 1.03 * nearest[cell]
    return survives


def truly_seen(room: BoxRoom, view: View, camera: Camera) -> Tensor:
    """bool [H, W]: by the room's own geometry."""
    offset = unproject(view.camera, view.measured) - camera.position
    distance = offset.norm(dim=-1)
    pixel, zdepth = project(camera, offset + camera.position)
    size = torch.tensor([camera.width, camera.height])
    inside = (zdepth > 0) & ((pixel >= 0) & (pixel <= size)).all(-1)
    return inside & (room.trace(camera.position, offset / distance[..., None])[1] > 0.999 * distance)


def measure(size: int) -> dict[str, dict[str, float]]:
    """Times and shares for pictures of size x size pixels."""
    room = BoxRoom()
    view = room.view(Camera.from_fov(size, size, FOV_DEG, look_at(25)))
    camera = Camera.from_fov(size, size, FOV_DEG, look_at(32, 5, torch.tensor([0.4, -0.1, 0.2])))
    truth = truly_seen(room, view, camera)
    warps: dict[str, Callable[[], Tensor]] = {
        "round_trip_warp": lambda: round_trip_warp(view, camera).known,
        "by two renderings": lambda: came_back(view, camera),
        "plain z-buffer": lambda: plain_survivors(view, camera),
    }
    found = {
        name: best_ms(call) | {"share": round(float((call() == truth).float().mean()), 5)}
        for name, call in warps.items()
    }
    return found | {
        "forward_warp": best_ms(lambda: forward_warp(view, camera)),
        "by a cloud of points": best_ms(lambda: render_points(view_points(view, view.known), camera)),
    }


def main() -> None:
    results = {size: measure(size) for size in SIZES}
    for size, rows in results.items():
        for name, row in rows.items():
            share = f"{row['share']:8.2%} right" if "share" in row else ""
            print(
                f"{size:5} {name:20} {row['ms']:9.2f} ms (wanted {WANTED_MS[size]}), work {row['cpu_ms']:9.2f} {share}"
            )
    print(json.dumps({"threads": torch.get_num_threads(), "sizes": results}))


if __name__ == "__main__":
    main()
