"""How fast are the projections, beside py360convert? `python -m tests.benchmarks.projection`

Every call has a camera of its own: py360convert keeps the maps of the last eight cameras, so cameras that come again
are measured too. The best of several runs counts. The last line is one JSON object, times in milliseconds.
"""

import json
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from py360convert import e2p

from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import from_perspective, to_perspective
from worldgen.types import Camera

HEIGHT, WIDTH, VIEW, FOV_DEG = 1024, 2048, 512, 85.0
REPEATS = 12


def yaws_deg() -> Iterator[float]:
    """Never the same direction twice."""
    yaw = 0.0
    while True:
        yaw = (yaw + 37.123) % 360 - 180
        yield yaw


def best_ms(call: Callable[[], object]) -> dict[str, float]:
    """Wall and CPU time of the fastest of several calls; the first, which compiles, does not count."""
    call()
    walls, cpus = [], []
    for _ in range(REPEATS):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        walls.append((time.perf_counter() - wall) * 1e3)
        cpus.append((time.process_time() - cpu) * 1e3)
    return {"wall_ms": round(min(walls), 2), "cpu_ms": round(min(cpus), 2)}


def main() -> None:
    torch.manual_seed(0)
    panorama, view = torch.rand(3, HEIGHT, WIDTH), torch.rand(3, VIEW, VIEW)
    same = np.ascontiguousarray(panorama.permute(1, 2, 0).numpy())
    yaws = yaws_deg()

    def camera() -> Camera:
        return Camera.from_fov(VIEW, VIEW, FOV_DEG, look_at(next(yaws), 20.0))

    fixed = camera()
    results = {
        "to_perspective": best_ms(lambda: to_perspective(panorama, camera())),
        "py360convert e2p": best_ms(lambda: e2p(same, FOV_DEG, next(yaws), 20.0, (VIEW, VIEW))),
        "to_perspective, camera again": best_ms(lambda: to_perspective(panorama, fixed)),
        "py360convert e2p, camera again": best_ms(lambda: e2p(same, FOV_DEG, 10.0, 20.0, (VIEW, VIEW))),
        "to_perspective bicubic": best_ms(lambda: to_perspective(panorama, camera(), "bicubic")),
        "py360convert e2p bicubic": best_ms(lambda: e2p(same, FOV_DEG, next(yaws), 20.0, (VIEW, VIEW), mode="bicubic")),
        "from_perspective": best_ms(lambda: from_perspective(view, camera(), HEIGHT, WIDTH)),
        "from_perspective bicubic": best_ms(lambda: from_perspective(view, camera(), HEIGHT, WIDTH, "bicubic")),
    }
    for name, times in results.items():
        print(f"{name:32} {times['wall_ms']:8.2f} ms wall {times['cpu_ms']:8.2f} ms CPU")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
