"""The rasteriser: the numba kernels against the dense float64 reference, and their promises at the edges."""

import gc
import os
import subprocess
import sys
import types
import weakref
from dataclasses import replace

import numba
import numpy as np
import pytest
import torch

from worldgen.errors import UserError
from worldgen.geometry.cameras import look_at
from worldgen.splat import cuda, reference
from worldgen.splat.kernels import binning, blend, raster
from worldgen.splat.kernels.options import FAST_PARALLEL
from worldgen.splat.raster_info import RasterInfo
from worldgen.splat.rasterize import Render, rasterize, sh_degree
from worldgen.types import Camera, Gaussians

IMAGES = ("rgb", "alpha", "zdepth")
BACKGROUND = torch.tensor([0.2, 0.5, 0.8])


def camera(width: int = 53, height: int = 41) -> Camera:
    """Neither a multiple of the tile nor of the block, off centre, turned and away from the origin."""
    c2w = look_at(20.0, 10.0, torch.tensor([0.5, -0.3, 0.2]))
    return Camera(c2w, width, height, 0.6 * width, 0.7 * width, 0.45 * width, 0.55 * height)


def scene(count: int, degree: int, seed: int, size_spread: float = 0.6) -> Gaussians:
    """Gaussians before, beside and behind `camera()`; no two at one depth, so that rounding cannot swap them."""
    random = torch.Generator().manual_seed(seed)
    z = torch.linspace(-0.5, 6.0, count)[torch.randperm(count, generator=random)]
    local = torch.cat([(torch.rand(count, 2, generator=random) * 2.4 - 1.2) * z[:, None].abs(), z[:, None]], dim=1)
    c2w = camera().c2w
    return Gaussians(
        means=local @ c2w[:3, :3].T + c2w[:3, 3],
        quats=torch.randn(count, 4, generator=random),
        log_scales=torch.log(0.03 * z.abs())[:, None] + size_spread * torch.randn(count, 3, generator=random),
        opacity_logits=2.0 * torch.randn(count, generator=random),
        sh=0.4 * torch.randn(count, (degree + 1) ** 2, 3, generator=random),
    )


def leaves(gaussians: Gaussians, dtype: torch.dtype = torch.float32) -> Gaussians:
    return Gaussians(*(t.detach().to(dtype).clone().requires_grad_() for t in gaussians.tensors().values()))


def decided_pixels(gaussians: Gaussians, view: Camera, antialiased: bool) -> torch.Tensor:
    """bool [H, W]: False where a threshold (1/255, 0.999, 1e-4) is so near that float32 may fall on the other side."""
    alpha = reference.alphas(reference.project(gaussians, view, antialiased), view)
    seen = torch.where(alpha < reference.MIN_ALPHA, 0.0, torch.clamp(alpha, max=reference.MAX_ALPHA))
    light = torch.cumprod(1 - seen, 0)
    near = ((alpha / reference.MIN_ALPHA - 1).abs() < 1e-4) | ((alpha / reference.MAX_ALPHA - 1).abs() < 1e-4)
    near |= (light / reference.MIN_TRANSMITTANCE - 1).abs() < 1e-3
    decided = ~near.any(0)
    assert decided.double().mean() > 0.9, "so few pixels would show little"
    return decided


def compare_with_reference(gaussians: Gaussians, antialiased: bool, image_limit: float, gradient_limit: float) -> None:
    """Images and gradients, those of a loss with random weights on every pixel of all three images."""
    view = camera()
    decided = decided_pixels(gaussians, view, antialiased)
    ours, truth = leaves(gaussians), leaves(gaussians, torch.float64)
    render = rasterize(ours, view, BACKGROUND, antialiased)
    wanted = Render(*reference.rasterize(truth, view, BACKGROUND, antialiased), RasterInfo())
    random = torch.Generator().manual_seed(9)
    ours_loss = truth_loss = 0.0
    for name in IMAGES:
        found, want = getattr(render, name), getattr(wanted, name)
        assert ((found - want).abs() * decided).max() <= image_limit, name
        weight = torch.randn(found.shape, generator=random) * decided
        ours_loss, truth_loss = ours_loss + (found * weight).sum(), truth_loss + (want * weight).sum()
    ours_loss.backward()
    truth_loss.backward()
    for name, tensor in ours.tensors().items():
        want = truth.tensors()[name].grad
        assert want.norm() > 0
        assert (tensor.grad - want).norm() <= gradient_limit * want.norm(), name


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_agrees_with_the_float64_reference(degree, antialiased):
    compare_with_reference(scene(400, degree, seed=degree), antialiased, image_limit=1e-5, gradient_limit=1e-4)


@pytest.mark.parametrize("absgrad", [False, True])
def test_centres_have_the_gradients_of_the_reference(absgrad):
    """Of each centre in pixels: the whole, or the sum of what each pixel contributes, without its sign."""
    gaussians, view = scene(40, 1, seed=11), camera(17, 13)
    decided = decided_pixels(gaussians, view, False)
    splats = reference.project(gaussians, view, False)
    centres = splats.centre.requires_grad_()
    rgb, _, _ = reference.composite(splats, view, BACKGROUND)
    weight = torch.randn(rgb.shape, generator=torch.Generator().manual_seed(3)) * decided
    per_pixel = ((rgb * weight).sum(0)).flatten()
    if absgrad:
        parts = [torch.autograd.grad(pixel, centres, retain_graph=True)[0].abs() for pixel in per_pixel]
        wanted = torch.stack(parts).sum(0)
    else:
        wanted = torch.autograd.grad(per_pixel.sum(), centres)[0]

    ours = leaves(gaussians)
    render = rasterize(ours, view, BACKGROUND, absgrad=absgrad)
    with pytest.raises(RuntimeError, match="wanted a backward pass"):
        _ = render.info.centre_grad
    (render.rgb * weight).sum().backward()
    rows = render.info.rows
    found = torch.zeros(len(gaussians), 2).index_copy_(0, rows, render.info.centre_grad)
    by_depth = (gaussians.means - view.position) @ view.c2w[:3, 2]
    order = torch.nonzero(by_depth >= reference.NEAR)[:, 0]
    order = order[torch.argsort(by_depth[order], stable=True)]
    assert (found[order] - wanted).norm() <= 1e-4 * wanted.norm()
    assert ours.means.grad[rows].any(dim=1).sum() > 10
    unseen = torch.ones(len(gaussians), dtype=torch.bool).index_fill_(0, rows, False)
    assert not ours.means.grad[unseen].any()


def test_a_loss_of_the_colours_alone_takes_a_shorter_way_to_the_same_gradients():
    gaussians, weight = scene(400, 1, seed=12), torch.randn(3, 41, 53, generator=torch.Generator().manual_seed(3))
    found = []
    for others in (False, True):
        ours = leaves(gaussians)
        render = rasterize(ours, camera(), BACKGROUND)
        loss = (render.rgb * weight).sum()
        (loss + 0 * render.alpha.sum() if others else loss).backward()
        found.append([*(tensor.grad for tensor in ours.tensors().values()), render.info.centre_grad])
    for alone, beside in zip(*found, strict=True):
        assert alone.norm() > 0
        assert (alone - beside).norm() <= 1e-5 * beside.norm()


@pytest.mark.parametrize("antialiased", [False, True])
def test_huge_tiny_and_needle_shaped_gaussians_agree_too(antialiased):
    compare_with_reference(scene(300, 1, 5, size_spread=2.0), antialiased, image_limit=1e-5, gradient_limit=1e-4)


def test_stops_where_the_reference_stops():
    opaque = scene(300, 0, seed=6)
    opaque = Gaussians(
        opaque.means, opaque.quats, opaque.log_scales + 1.5, opaque.opacity_logits.abs() + 1.0, opaque.sh
    )
    compare_with_reference(opaque, False, image_limit=1e-5, gradient_limit=1e-4)
    assert rasterize(opaque, camera()).alpha.min() > 0.99, "the scene should be full"


def test_background_shows_where_nothing_is():
    nothing = Gaussians(*(tensor[:0] for tensor in scene(4, 0, seed=0).tensors().values()))
    behind = scene(50, 1, seed=0)
    behind = leaves(Gaussians(camera().position - 3 * camera().c2w[:3, 2] + 0 * behind.means, *_all_but_means(behind)))
    for gaussians in (nothing, behind):
        render = rasterize(gaussians, camera(), BACKGROUND)
        assert torch.equal(render.rgb, BACKGROUND[:, None, None].expand(3, 41, 53))
        assert not render.alpha.any()
        assert not render.zdepth.any()
    (render.rgb.sum() + render.zdepth.sum()).backward()
    for tensor in behind.tensors().values():
        assert not tensor.grad.any()
    assert not rasterize(behind, camera()).rgb.any(), "black without a background"


def _all_but_means(gaussians: Gaussians) -> list[torch.Tensor]:
    return list(gaussians.tensors().values())[1:]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 3e38, -3e38])
@pytest.mark.parametrize("field", ["means", "quats", "log_scales", "opacity_logits", "sh"])
def test_what_is_not_finite_is_not_drawn(field, value):
    clean = scene(60, 1, seed=3)
    broken = leaves(clean)
    with torch.no_grad():
        broken.tensors()[field][::2] = value
    render = rasterize(broken, camera(), BACKGROUND)
    (render.rgb.sum() + render.alpha.sum() + render.zdepth.sum()).backward()
    assert all(getattr(render, name).isfinite().all() for name in IMAGES)
    assert all(tensor.grad.isfinite().all() for tensor in broken.tensors().values())
    if abs(value) != 3e38:
        kept = rasterize(Gaussians(*(t[1::2] for t in clean.tensors().values())), camera(), BACKGROUND)
        assert all(torch.equal(getattr(render, name), getattr(kept, name)) for name in IMAGES)


def test_equal_depths_keep_the_order_of_the_gaussians():
    one = scene(1, 0, seed=0)
    pair = Gaussians(
        means=(camera().position + 2 * camera().c2w[:3, 2]).expand(2, 3),
        quats=one.quats.expand(2, 4),
        log_scales=torch.full((2, 3), -1.0),
        opacity_logits=torch.full((2,), 9.0),
        sh=torch.tensor([[[1.5, -1.5, -1.5]], [[-1.5, 1.5, -1.5]]]),
    )
    red, green, _ = rasterize(pair, camera()).rgb[:, int(camera().cy), int(camera().cx)]
    assert red > 0.9
    assert green < 0.1


def test_depth_order_is_a_stable_sort():
    depths = torch.rand(5000, generator=torch.Generator().manual_seed(0)).mul(100).round().div(7).add(0.01).numpy()
    order = binning.depth_order(depths.view(np.uint32))
    np.testing.assert_array_equal(order, np.argsort(depths, kind="stable"))


def test_the_same_bits_on_one_thread_and_on_all(set_threads):
    view = camera(150, 130)
    results = []
    for threads in (1, numba.config.NUMBA_NUM_THREADS, 1):
        set_threads(threads)
        gaussians = leaves(scene(2000, 1, seed=2))
        render = rasterize(gaussians, view, BACKGROUND)
        (render.rgb.square().sum() + render.zdepth.sum()).backward()
        images = [getattr(render, name).detach() for name in IMAGES]
        results.append(images + [tensor.grad for tensor in gaussians.tensors().values()])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_without_gradients_the_images_are_the_same():
    gaussians = leaves(scene(100, 1, seed=1))
    with_graph = rasterize(gaussians, camera(), BACKGROUND, antialiased=True)
    with torch.no_grad():
        without = rasterize(gaussians, camera(), BACKGROUND, antialiased=True)
    for name in IMAGES:
        assert getattr(with_graph, name).requires_grad
        assert not getattr(without, name).requires_grad
        assert torch.equal(getattr(with_graph, name), getattr(without, name))


def test_strided_and_float64_tensors_are_taken_and_get_gradients_of_their_own_kind():
    plain = scene(80, 1, seed=4)
    odd = leaves(plain, torch.float64)
    strided = Gaussians(*(torch.stack([t, t], dim=1)[:, 0] for t in odd.tensors().values()))
    render = rasterize(strided, camera())
    assert torch.equal(render.rgb, rasterize(plain, camera()).rgb)
    render.rgb.sum().backward()
    assert odd.means.grad.dtype == torch.float64
    assert odd.sh.grad.any()


def test_a_render_is_freed_with_its_graph(monkeypatch):
    made = []
    rasterize_on_cpu = raster.rasterize

    def watched(*arguments):
        *images, drawing = rasterize_on_cpu(*arguments)
        made.append(weakref.ref(drawing))
        return *images, drawing

    monkeypatch.setattr(raster, "rasterize", watched)
    gc.disable()
    try:
        render = rasterize(leaves(scene(20, 0, seed=0)), camera())
        assert made[0]() is not None
        del render
        assert made[0]() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(("count", "degree"), [(1, 0), (4, 1), (9, 2), (16, 3)])
def test_number_of_harmonics_gives_the_degree(count, degree):
    assert sh_degree(Gaussians(*_all_but_sh(scene(2, 0, seed=0)), torch.zeros(2, count, 3))) == degree


@pytest.mark.parametrize("count", [0, 2, 5, 25])
def test_other_numbers_of_harmonics_are_refused(count):
    with pytest.raises(ValueError, match=rf"Gaussians.sh: {count} coefficients, wanted 1, 4, 9 or 16"):
        rasterize(Gaussians(*_all_but_sh(scene(2, 0, seed=0)), torch.zeros(2, count, 3)), camera())


def _all_but_sh(gaussians: Gaussians) -> list[torch.Tensor]:
    return list(gaussians.tensors().values())[:-1]


@pytest.mark.skipif(numba.config.CPU_NAME == "generic", reason="vectors of two to four numbers: LLVM may do without")
@pytest.mark.parametrize(
    ("kernel", "products"), [("blend", 23), pytest.param("blend_backward", 55, marks=pytest.mark.slow)]
)
def test_blending_loops_became_vector_instructions(kernel, products):
    """Numba drops vectorisation without a word, and the kernel is then several times slower."""
    raster.compile_kernels()
    cached = getattr(blend, kernel)
    fresh = numba.njit(**FAST_PARALLEL | {"cache": False})(cached.py_func)  # a cached kernel cannot be looked into
    fresh.compile(cached.signatures[0])
    code = "\n".join(fresh.inspect_llvm().values())
    vector_products = [line for line in code.splitlines() if "= fmul" in line and " x float> " in line]
    assert len(vector_products) >= products


@pytest.mark.slow
def test_a_second_process_loads_the_kernels_from_the_cache(tmp_path):
    program = (
        "from worldgen.splat.kernels import binning, blend, harmonics, projection, raster\n"
        "raster.compile_kernels()\n"
        "modules = binning, blend, harmonics, projection\n"
        "kernels = [k for m in modules for k in vars(m).values() if hasattr(k, 'stats') and k.signatures]\n"
        "kernels = [k for k in kernels if k.stats.cache_path]\n"
        "print(sum(sum(k.stats.cache_misses.values()) for k in kernels),"
        " sum(sum(k.stats.cache_hits.values()) for k in kernels))\n"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    counts = []
    for _ in range(2):
        out = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True).stdout
        counts.append(tuple(int(n) for n in out.split()))
    (first_misses, first_hits), (second_misses, second_hits) = counts
    assert (first_hits, second_misses) == (0, 0)
    assert first_misses == second_hits == 9


def _gsplat_by_reference(**call) -> tuple[torch.Tensor, torch.Tensor, dict]:
    """gsplat.rasterization by our reference: right only if every argument means what gsplat takes it for."""
    assert call["packed"] is False
    assert call["render_mode"] == "RGB+D"
    assert (call["near_plane"], call["eps2d"]) == (0.01, 0.3)
    assert call["colors"].shape[1] == (call["sh_degree"] + 1) ** 2
    intrinsics = call["Ks"][0]
    view = Camera(
        torch.linalg.inv(call["viewmats"][0]), call["width"], call["height"],
        *(float(intrinsics[i, j]) for i, j in ((0, 0), (1, 1), (0, 2), (1, 2))),
    )  # fmt: skip
    gaussians = Gaussians(call["means"], call["quats"], call["scales"].log(), call["opacities"].logit(), call["colors"])
    antialiased = {"classic": False, "antialiased": True}[call["rasterize_mode"]]
    splats = reference.project(gaussians, view, antialiased)
    rgb, alpha, zdepth = reference.composite(splats, view, call["backgrounds"][0])
    info = {"means2d": splats.centre[None], "radii": torch.ones(1, len(splats.centre), 2)}
    return torch.cat([rgb, zdepth[None]]).permute(1, 2, 0)[None], alpha[None, ..., None], info


@pytest.mark.parametrize("antialiased", [False, True])
def test_gsplat_is_asked_for_the_same_picture(monkeypatch, antialiased):
    monkeypatch.setitem(sys.modules, "gsplat", types.SimpleNamespace(rasterization=_gsplat_by_reference))
    gaussians = scene(150, 1, seed=7)
    found = Render(*cuda.rasterize(gaussians, camera(), BACKGROUND, antialiased, 1, RasterInfo()), RasterInfo())
    wanted = rasterize(gaussians, camera(), BACKGROUND, antialiased)
    decided = decided_pixels(gaussians, camera(), antialiased)
    for name in IMAGES:
        assert getattr(found, name).shape == getattr(wanted, name).shape
        assert ((getattr(found, name) - getattr(wanted, name)).abs() * decided).max() < 1e-4


def test_cuda_without_gsplat_is_one_clear_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "gsplat", None)
    with pytest.raises(UserError, match=r"^gsplat: not importable .*wanted for Gaussians on a CUDA device") as caught:
        cuda.rasterize(scene(2, 0, seed=0), camera(), BACKGROUND, False, 0, RasterInfo())
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="gsplat renders on CUDA only, and this machine has none")
def test_cuda_and_cpu_agree():
    for antialiased in (False, True):
        compare_cuda_with_cpu(antialiased)


def compare_cuda_with_cpu(antialiased: bool) -> None:
    gaussians = scene(400, 3, seed=8)
    decided = decided_pixels(gaussians, camera(), antialiased)
    renders, gradients = [], []
    for device in ("cpu", "cuda"):
        here = Gaussians(*(t.to(device).requires_grad_() for t in leaves(gaussians).tensors().values()))
        for tensor in here.tensors().values():
            tensor.retain_grad()
        render = rasterize(here, camera(), BACKGROUND.to(device), antialiased, absgrad=True)
        loss = sum((getattr(render, name) * decided.to(device)).square().sum() for name in IMAGES)
        loss.backward()
        renders.append([getattr(render, name).detach().cpu() for name in IMAGES])
        centres = torch.zeros(len(here), 2).index_copy_(0, render.info.rows.cpu(), render.info.centre_grad.cpu())
        gradients.append([*(tensor.grad.cpu() for tensor in here.tensors().values()), centres])
    for ours, theirs in zip(*renders, strict=True):
        assert ((ours - theirs).abs() * decided).max() < 1e-3
    for ours, theirs in zip(*gradients, strict=True):
        assert (ours - theirs).norm() <= 1e-2 * theirs.norm()


def test_gaussians_are_rendered_as_they_were_fitted_unless_told_otherwise():
    gaussians = replace(scene(50, 0, seed=3), antialiased=True)
    plain, compensated = (rasterize(gaussians, camera(), antialiased=antialiased).rgb for antialiased in (False, True))
    assert not torch.equal(plain, compensated)
    assert torch.equal(rasterize(gaussians, camera()).rgb, compensated)
