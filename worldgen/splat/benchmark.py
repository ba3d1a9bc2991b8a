"""Times the CPU rasteriser, forward and backward, on Gaussians all round the viewer.

    python -m worldgen.splat.benchmark [--threads 2] [--prototype nb.py]

`--prototype` names a Python file with another numba rasteriser (class `NB_` with `setup`, `project`, `binning`, `fwd`,
`bwd`, `pbwd`), timed in turn with ours on the same scenes. On a busy machine compare CPU time, and set
OMP_WAIT_POLICY=passive, or every launch counts milliseconds of threads that spin. The last line is JSON.
"""

import argparse
import importlib.util
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
import torch

from worldgen.splat.numba_raster import compile_kernels
from worldgen.splat.rasterize import rasterize
from worldgen.types import Camera, Gaussians


def panorama_scene(count: int, seed: int = 0, sh_degree: int = 1) -> Gaussians:
    """Gaussians on the walls of a 6 x 3 x 8 m room seen from inside, about as large as their spacing; an eighth of
    them float nearer."""
    random = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(count, 3, generator=random), dim=-1)
    distance = (torch.tensor([3.0, 1.5, 4.0]) / directions.abs().clamp(min=1e-6)).amin(dim=1)
    floating = torch.rand(count, generator=random) < 0.125
    distance = torch.where(floating, distance * (0.4 + 0.5 * torch.rand(count, generator=random)), distance)
    spacing = distance * math.sqrt(4 * math.pi / count)
    spread = 0.35 * torch.randn(count, 3, generator=random) + math.log(0.5)
    return Gaussians(
        means=directions * distance[:, None],
        quats=torch.randn(count, 4, generator=random),
        log_scales=torch.log(spacing)[:, None] + spread - torch.tensor([0.0, 0.0, 1.0]),
        opacity_logits=1.5 * torch.randn(count, generator=random),
        sh=torch.randn(count, (sh_degree + 1) ** 2, 3, generator=random) * 0.3,
    )


def our_step(gaussians: Gaussians, camera: Camera, v_rgb: torch.Tensor, v_zdepth: torch.Tensor) -> Callable[[], None]:
    """One forward and backward pass through autograd."""
    leaves = Gaussians(*(tensor.clone().requires_grad_() for tensor in gaussians.tensors().values()))

    def step() -> None:
        for tensor in leaves.tensors().values():
            tensor.grad = None
        render = rasterize(leaves, camera)
        torch.autograd.backward([render.rgb, render.zdepth], [v_rgb, v_zdepth])

    return step


def prototype_step(
    path: Path, gaussians: Gaussians, camera: Camera, v_rgb: torch.Tensor, v_zdepth: torch.Tensor
) -> Callable[[], None]:
    """The same pass through the kernels of another file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # numba's cache looks the module up by name
    spec.loader.exec_module(module)
    engine = module.NB_()
    parameters = {
        "means": gaussians.means,
        "quats": gaussians.quats,
        "scales": gaussians.log_scales.exp(),
        "opac": gaussians.opacity_logits.sigmoid(),
        "sh": gaussians.sh,
    }
    lens = np.array([camera.fx, camera.fy, camera.cx, camera.cy], np.float32)
    engine.setup(parameters, camera.w2c.numpy(), lens, camera.width, camera.height)
    images = [v_rgb.permute(1, 2, 0).contiguous().numpy(), v_zdepth.numpy(), np.zeros(v_zdepth.shape, np.float32)]

    def step() -> None:
        engine.project()
        engine.binning()
        engine.fwd(np.zeros(3, np.float32))
        engine.bwd(*images)
        engine.pbwd()

    return step


def time_in_turn(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, dict[str, float]]:
    """Least milliseconds of CPU and of wall time per step; the steps take turns, so that noise falls on all alike."""
    seconds = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            cpu, wall = time.process_time(), time.perf_counter()
            step()
            seconds[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return {
        name: {
            "cpu_ms": round(1e3 * min(cpu for cpu, _ in times), 2),
            "wall_ms": round(1e3 * min(wall for _, wall in times), 2),
        }
        for name, times in seconds.items()
    }


def benchmark(count: int, size: int, rounds: int, prototype: Path | None) -> dict[str, float]:
    """Times one scene; prints a line per rasteriser."""
    gaussians = panorama_scene(count)
    camera = Camera.from_fov(size, size, 90.0)
    random = torch.Generator().manual_seed(1)
    v_rgb, v_zdepth = (torch.randn(shape, generator=random) for shape in ((3, size, size), (size, size)))
    steps = {"ours": our_step(gaussians, camera, v_rgb, v_zdepth)}
    if prototype is not None:
        steps["prototype"] = prototype_step(prototype, gaussians, camera, v_rgb, v_zdepth)
    times = time_in_turn(steps, rounds)
    for name, figures in times.items():
        print(f"{count:7d} Gaussians, {size}x{size}, {name:9s}: {figures['cpu_ms']:7.1f} ms CPU, "
              f"{figures['wall_ms']:7.1f} ms wall")  # fmt: skip
    result = {"gaussians": count, "size": size, **times["ours"]}
    if prototype is not None:
        result["cpu_ratio"] = round(times["ours"]["cpu_ms"] / times["prototype"]["cpu_ms"], 3)
        result["wall_ratio"] = round(times["ours"]["wall_ms"] / times["prototype"]["wall_ms"], 3)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m worldgen.splat.benchmark", description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=numba.config.NUMBA_NUM_THREADS, help="numba threads")
    parser.add_argument("--size", type=int, default=512, help="pixels of the image's edge")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--prototype", type=Path, help="a file with another rasteriser to time in turn")
    options = parser.parse_args()
    numba.set_num_threads(options.threads)
    started = time.perf_counter()
    compile_kernels()
    compile_s = round(time.perf_counter() - started, 2)
    print(f"kernels compiled or loaded in {compile_s} s")
    scenes = [benchmark(n, options.size, options.rounds, options.prototype) for n in (100_000, 300_000)]
    print(json.dumps({"benchmark": "rasterize", "threads": options.threads, "compile_s": compile_s, "scenes": scenes}))


if __name__ == "__main__":
    main()
