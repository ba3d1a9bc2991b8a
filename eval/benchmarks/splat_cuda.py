"""Times a whole step of the optimisation on a GPU, beside one put together as gsplat's own trainer does by default.

Both: gsplat's rasteriser, L1 + SSIM, one view a step. Theirs: spherical harmonics of degree 3 and fused Adam over all
Gaussians, tensor by tensor; ours: the same degree, so that the rasteriser has the same to do, and SelectiveAdam; and
ours with the distortion field of the paper's size.
"""

import importlib
import time
from collections.abc import Callable
from typing import Any

import torch

from eval.benchmarks.splat_scene import RATES, grey_target, leaves, panorama_scene
from worldgen.errors import UserError
from worldgen.splat.adam import SelectiveAdam
from worldgen.splat.distortion import DistortionField
from worldgen.splat.losses import plain_loss
from worldgen.splat.rasterize import rasterize
from worldgen.types import Camera, Gaussians

_STEPS_OF_A_FIT = 5000


def benchmark_cuda(
    count: int = 1_000_000, size: int = 1024, rounds: int = 100, device: str = "cuda"
) -> dict[str, object]:
    """Prints a line for each kind of step; returns all figures. Raises UserError without a GPU."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device=cuda: no GPU that torch can use, wanted one")
    gaussians, camera = panorama_scene(count, sh_degree=3), Camera.from_fov(size, size, 90.0)
    field = DistortionField(images=100).to(device)
    steps = {
        "ours": _our_step(gaussians, camera, None, device),
        "distorted": _our_step(gaussians, camera, field, device),
        "gsplat": _gsplat_step(gaussians, camera, device),
    }
    per_s = {name: _steps_per_s(step, rounds, device) for name, step in steps.items()}
    for name, label in {
        "ours": "ours",
        "distorted": "ours, with the distortion field",
        "gsplat": "gsplat's default",
    }.items():
        print(f"{count} Gaussians, {size}x{size}, {label:32s} {per_s[name]:8.1f} steps/s", flush=True)
    return {
        "benchmark": "splat",
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "gaussians": count,
        "size": size,
        "steps_per_s": per_s,
        "distortion_costs_percent": round(100 * (per_s["ours"] / per_s["distorted"] - 1), 1),
        "seconds_for_5000_steps": round(_STEPS_OF_A_FIT / per_s["distorted"], 1),
    }


def _our_step(gaussians: Gaussians, camera: Camera, field: DistortionField | None, device: str) -> Callable[[], None]:
    parameters = leaves(gaussians, device)
    target, weight = grey_target(camera, device)
    named = parameters.tensors().items()
    optimiser = SelectiveAdam({"params": [t], "lr": RATES[name], "name": name} for name, t in named)
    optimisers: list[Any] = (
        [optimiser] if field is None else [optimiser, torch.optim.Adam(field.parameters(), fused=True)]
    )

    def step() -> None:
        render = rasterize(parameters, camera)
        rgb = render.rgb if field is None else field(render.rgb, 0)
        plain_loss(rgb, target, weight).backward()
        optimisers[0].step(rows=render.info.rows)
        for other in optimisers[1:]:
            other.step()
        for each in optimisers:
            each.zero_grad(set_to_none=True)

    return step


def _gsplat_step(gaussians: Gaussians, camera: Camera, device: str) -> Callable[[], None]:
    gsplat = importlib.import_module("gsplat")
    parameters = leaves(gaussians, device)
    target, weight = grey_target(camera, device)
    optimisers = [
        torch.optim.Adam([tensor], lr=RATES[name], eps=1e-15, fused=True)
        for name, tensor in parameters.tensors().items()
    ]
    view = {"viewmats": camera.w2c.to(device)[None], "Ks": camera.intrinsics.to(device)[None]}

    def step() -> None:
        images, _, _ = gsplat.rasterization(
            means=parameters.means,
            quats=parameters.quats,
            scales=parameters.log_scales.exp(),
            opacities=parameters.opacity_logits.sigmoid(),
            colors=parameters.sh,
            width=camera.width,
            height=camera.height,
            sh_degree=3,
            packed=False,
            **view,
        )
        plain_loss(images[0, ..., :3].permute(2, 0, 1), target, weight).backward()
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    return step


def _steps_per_s(step: Callable[[], None], rounds: int, device: str) -> float:
    for _ in range(3):
        step()
    _wait(device)
    began = time.perf_counter()
    for _ in range(rounds):
        step()
    _wait(device)
    return round(rounds / (time.perf_counter() - began), 1)


def _wait(device: str) -> None:
    """Until the GPU has done what was asked of it."""
    if device == "cuda":
        torch.cuda.synchronize()
