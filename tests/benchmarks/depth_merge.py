"""What does merging views' depths at the paper's size cost? `python -m tests.benchmarks.depth_merge`

The views of a room, each at a scale of its own, aligned and merged in the gradient domain at 4096 x 2048. The last line
is one JSON object: seconds of wall and processor, and the peak beyond what the views themselves take.
"""

import argparse
import json
import time
from collections.abc import Sequence
from typing import Any

import torch

from tests.scenes import BoxRoom
from worldgen.recipe.depth import MergeSettings, align_views, merge_views
from worldgen.runs.usage import PeakMemory

HEIGHT, SIZE, GRADIENT_DEG = 2048, 1024, 30.0
ROOM = BoxRoom()


def measured(height: int, size: int, gradient_deg: float) -> dict[str, Any]:
    """Of a panorama of so many rows and square views of so many pixels."""
    cameras = MergeSettings(view_size=size).cameras()
    generator = torch.Generator().manual_seed(0)
    scales = torch.exp(0.3 * torch.randn(len(cameras), generator=generator)).tolist()
    distances = [ROOM.view(camera).measured * scale for camera, scale in zip(cameras, scales, strict=True)]
    merge_views(
        cameras, align_views(cameras, distances, 0.05), 64, None, gradient_deg
    )  # compiles what is compiled once
    wall, cpu = time.perf_counter(), time.process_time()
    with PeakMemory() as peak:
        merged = merge_views(cameras, align_views(cameras, distances, 0.05), height, None, gradient_deg)
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    error = (merged / ROOM.panorama(height)[1].distance).log()
    return {
        "views": len(cameras),
        "view_px": size,
        "rows": height,
        "gradient_deg": gradient_deg,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "peak_mb": peak.mb,
        "error_q95": round(float((error - error.median()).abs().flatten()[::7].quantile(0.95)), 4),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--height", type=int, default=HEIGHT, help="rows of the panorama")
    parser.add_argument("--size", type=int, default=SIZE, help="pixels of a view")
    parser.add_argument("--gradient-deg", type=float, default=GRADIENT_DEG, help="0 = a weighted mean")
    chosen = parser.parse_args(arguments)
    print(json.dumps(measured(chosen.height, chosen.size, chosen.gradient_deg)))


if __name__ == "__main__":
    main()
