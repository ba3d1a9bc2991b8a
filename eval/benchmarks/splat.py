"""Times a whole step of the optimisation on the CPU: rasteriser both ways, loss and its gradient, optimiser.

    python -m eval.benchmarks.splat [--threads 2]
    python -m eval.benchmarks.splat --device cuda

The Gaussians lie all round the viewer. In turn with ours, on the same scenes, run the rasteriser alone, and what a step
costs with torch's own SSIM and torch's fused Adam over all Gaussians. Memory is what a step needs beyond the parameters
and Adam's state, measured in a process of its own. On a busy machine compare CPU time, and set OMP_WAIT_POLICY=passive,
or every launch counts milliseconds of threads that spin. On a GPU the figures are those of `splat_cuda.py`. The last
line is JSON.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numba
import psutil
import torch

from eval.benchmarks.splat_scene import RATES, grey_target, leaves, panorama_scene
from worldgen.arguments import Parser
from worldgen.errors import UserError
from worldgen.runs.usage import PeakMemory
from worldgen.splat.adam import SelectiveAdam
from worldgen.splat.kernels.raster import compile_kernels
from worldgen.splat.losses import photometric_loss, plain_loss
from worldgen.splat.rasterize import rasterize
from worldgen.types import Camera, Gaussians

COUNTS = (100_000, 300_000)
_WARM_UP_GAUSSIANS = 1000
_MEMORY_STEPS = 5

Step = Callable[[], None]


class WholeStep:
    """A step as training takes it."""

    def __init__(self, gaussians: Gaussians, camera: Camera) -> None:
        self.camera, self.parameters = camera, leaves(gaussians)
        self.target, self.weight = grey_target(camera)
        named = self.parameters.tensors().items()
        self.optimiser = SelectiveAdam({"params": [t], "lr": RATES[name], "name": name} for name, t in named)

    def __call__(self) -> None:
        render = rasterize(self.parameters, self.camera)
        photometric_loss(render.rgb, self.target, self.weight).backward()
        self.optimiser.step(rows=render.info.rows)
        self.optimiser.zero_grad(set_to_none=True)

    def touch_state(self) -> None:
        """Writes to all of Adam's state: zeros take no memory before."""
        for _, tensor in self.optimiser.moments():
            tensor.fill_(0)


def torch_step(gaussians: Gaussians, camera: Camera) -> Step:
    """The same with our rasteriser, but torch's SSIM, and torch's fused Adam over all Gaussians."""
    parameters = leaves(gaussians)
    target, weight = grey_target(camera)
    groups = [{"params": [t], "lr": RATES[name]} for name, t in parameters.tensors().items()]
    optimiser = torch.optim.Adam(groups, eps=1e-15, fused=True)

    def step() -> None:
        plain_loss(rasterize(parameters, camera).rgb, target, weight).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def raster_step(gaussians: Gaussians, camera: Camera) -> Step:
    """The rasteriser forward and backward, through autograd."""
    parameters = leaves(gaussians)
    v_rgb, v_zdepth = _upstream(camera)

    def step() -> None:
        for tensor in parameters.tensors().values():
            tensor.grad = None
        render = rasterize(parameters, camera)
        torch.autograd.backward([render.rgb, render.zdepth], [v_rgb, v_zdepth])

    return step


def time_in_turn(steps: dict[str, Step], rounds: int) -> dict[str, dict[str, float]]:
    """Least milliseconds of CPU and of wall time per step; the steps take turns, so that noise falls on all alike."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
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


def benchmark(count: int, size: int, rounds: int) -> dict[str, Any]:
    """Times one scene; prints a line for each kind of step."""
    gaussians = panorama_scene(count)
    camera = Camera.from_fov(size, size, 90.0)
    steps: dict[str, Step] = {
        "whole": WholeStep(gaussians, camera),
        "raster": raster_step(gaussians, camera),
        "torch": torch_step(gaussians, camera),
    }
    times = time_in_turn(steps, rounds)
    labels = {
        "whole": "whole step",
        "raster": "rasteriser alone",
        "torch": "with torch's loss and Adam",
    }
    for name, figures in times.items():
        print(f"{count:7d} Gaussians, {size}x{size}, {labels[name]:27s} {figures['cpu_ms']:7.1f} ms CPU "
              f"{figures['wall_ms']:7.1f} ms wall", flush=True)  # fmt: skip
    result: dict[str, Any] = {"gaussians": count, "size": size, **times}
    return result


def bytes_per_gaussian(count: int, size: int) -> float:
    """What steps need at most beyond parameters and Adam's state, per Gaussian; run it in a process of its own.

    What does not grow with the count (pictures, kernels) is taken first, by a small scene of the same size.
    """
    camera = Camera.from_fov(size, size, 90.0)
    for _ in range(_MEMORY_STEPS):
        WholeStep(panorama_scene(_WARM_UP_GAUSSIANS), camera)()
    step = WholeStep(panorama_scene(count), camera)
    step.touch_state()
    before = psutil.Process().memory_info().rss
    with PeakMemory() as peak:
        for _ in range(_MEMORY_STEPS):
            step()
    return (peak.mb * 1e6 - before) / count


def _measured_apart(count: int, size: int) -> float:
    command = [sys.executable, "-m", "eval.benchmarks.splat", "--memory-of", str(count), "--size", str(size)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _upstream(camera: Camera) -> tuple[torch.Tensor, torch.Tensor]:
    """Random gradients of rgb and zdepth."""
    random = torch.Generator().manual_seed(1)
    shape = (camera.height, camera.width)
    return torch.randn(3, *shape, generator=random), torch.randn(shape, generator=random)


def main() -> None:
    parser = Parser(prog="python -m eval.benchmarks.splat", description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=numba.get_num_threads(), help="numba threads")
    parser.add_argument("--size", type=int, help="pixels of the image's edge (default: 512, on a GPU 1024)")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--memory-of", type=int, metavar="N", help="only print the bytes per Gaussian at N Gaussians")
    options = parser.parse_args()
    if options.device == "cuda":
        from eval.benchmarks.splat_cuda import benchmark_cuda

        print(json.dumps(benchmark_cuda(size=options.size or 1024)))
        return
    size = options.size or 512
    if options.memory_of:
        print(bytes_per_gaussian(options.memory_of, size))
        return
    numba.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    started = time.perf_counter()
    compile_kernels()
    compile_s = round(time.perf_counter() - started, 2)
    print(f"kernels compiled or loaded in {compile_s} s")
    scenes = [benchmark(n, size, options.rounds) for n in COUNTS]
    for scene in scenes:
        scene["bytes_per_gaussian"] = round(_measured_apart(scene["gaussians"], size), 1)
        print(f"{scene['gaussians']:7d} Gaussians: {scene['bytes_per_gaussian']} bytes each beyond parameters and Adam")
    print(json.dumps({"benchmark": "splat", "threads": options.threads, "compile_s": compile_s, "scenes": scenes}))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
