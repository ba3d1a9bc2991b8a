"""The benchmark of the optimisation: its steps are what training does, and its figures are there."""

import sys
import types

import pytest
import torch

from eval.benchmarks import splat as bench
from eval.benchmarks.splat_cuda import benchmark_cuda
from eval.benchmarks.splat_scene import grey_target, panorama_scene
from worldgen.errors import UserError
from worldgen.splat.losses import photometric_loss
from worldgen.splat.rasterize import rasterize
from worldgen.types import Camera, Gaussians


def loss_of(gaussians: Gaussians, camera: Camera) -> float:
    return photometric_loss(rasterize(gaussians, camera).rgb.detach(), *grey_target(camera)).item()


def test_a_whole_step_fits_the_picture():
    camera = Camera.from_fov(48, 48, 90.0)
    step = bench.WholeStep(panorama_scene(3000), camera)
    before = loss_of(step.parameters, camera)
    for _ in range(40):
        step()
    assert loss_of(step.parameters, camera) < before


def test_every_kind_of_step_is_timed_and_told(capsys):
    found = bench.benchmark(500, 32, rounds=1)
    assert {"whole", "raster", "torch"} <= found.keys()
    assert all(found[name]["wall_ms"] > 0 for name in ("whole", "raster", "torch"))
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_the_benchmark_for_gpus_runs_its_three_steps(monkeypatch, capsys):
    """On the CPU, with our rasteriser in the place of gsplat's."""

    def rasterization(**call):
        c2w = torch.linalg.inv(call["viewmats"][0])
        (fx, _, cx), (_, fy, cy), _ = call["Ks"][0].tolist()
        view = Camera(c2w, call["width"], call["height"], fx, fy, cx, cy)
        logits, log_scales = call["opacities"].logit(), call["scales"].log()
        render = rasterize(Gaussians(call["means"], call["quats"], log_scales, logits, call["colors"]), view)
        return render.rgb.permute(1, 2, 0)[None], render.alpha[None, ..., None], {}

    monkeypatch.setitem(sys.modules, "gsplat", types.SimpleNamespace(rasterization=rasterization))
    found = benchmark_cuda(count=300, size=16, rounds=1, device="cpu")
    assert found["steps_per_s"].keys() == {"ours", "distorted", "gsplat"}
    assert found["seconds_for_5000_steps"] > 0
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_that_is_said():
    with pytest.raises(UserError, match="--device=cuda: no GPU that torch can use"):
        benchmark_cuda()
