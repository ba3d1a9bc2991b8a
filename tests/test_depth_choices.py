"""The choices of conf/ for depth and the field of view, run with tiny networks: pytest tests/test_depth_choices.py"""

from pathlib import Path

import pytest
import torch

from tests.stand_ins import clone
from tests.tiny_depths import save_tiny_depth_anything, save_tiny_depth_pro
from tests.tiny_moge import save_tiny_moge
from worldgen.config import compose
from worldgen.io.photo import Lens, Photo
from worldgen.models.conformance import check_depth_estimator, check_fov_estimator, check_panorama_depth, panorama
from worldgen.models.runtime import Runtime
from worldgen.pipeline import make_adapters
from worldgen.recipe.depth import ground_height
from worldgen.types import Prompts

pytest.importorskip("moge")

SMALL = ("depth.settings.view_size=64", "depth.settings.merge_height=64")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Where each network's weights, and its authors' code, lie."""
    root = tmp_path_factory.mktemp("tiny")
    torch.save({"model_state_dict": {"canonical_m": torch.tensor([20.0])}}, root / "metric_depth_vit_small_800k.pth")
    return {
        "moge1": save_tiny_moge(root / "v1.pt", 1),
        "moge2": save_tiny_moge(root / "v2.pt", 2),
        "depth_pro": save_tiny_depth_pro(root / "depth_pro"),
        "depth_anything": save_tiny_depth_anything(root / "depth_anything"),
        "metric3d": root,
        "metric3d_code": clone("metric3d", root / "metric3d"),
    }


def adapters(*overrides):
    return make_adapters(compose("photo.jpg", ["panorama=anchored", *overrides]))


def metric3d(tiny, place):
    return [f"{place}.variant=small", f"{place}.checkout={tiny['metric3d_code']}", f"{place}.path={tiny['metric3d']}"]


SLOWLY = [pytest.param(name, marks=pytest.mark.slow) for name in ("moge", "depth_pro")]  # see test_a_views_depth


@pytest.mark.parametrize("depth", ["paper", "metric3d", *SLOWLY])
def test_a_panoramas_depth_by_networks_for_views(tiny, depth):
    networks = {
        "paper": [f"depth.shape.path={tiny['moge1']}", *metric3d(tiny, "depth.metric")],
        "moge": [f"depth.shape.path={tiny['moge2']}"],
        "depth_pro": [f"depth.shape.path={tiny['depth_pro']}"],
        "metric3d": metric3d(tiny, "depth.shape"),
    }[depth]
    adapter = adapters(f"depth={depth}", *SMALL, *networks)["depth"]
    if depth == "metric3d":  # the contract of merging views is the same for all; each takes 16 of them
        check_panorama_depth(adapter)
    adapter.load(Runtime(device="cpu"))
    found = adapter(panorama(), Prompts("a place", "above", "below", False, "a test"))
    assert found.distance.isfinite().all()
    assert ground_height(found.distance) > 1.49
    assert found.sky.any() == ("moge" in depth or depth == "paper")  # whose mask leaves out what is above


@pytest.mark.parametrize(("choice", "weights"), [("moge", "moge2"), ("depth_pro", "depth_pro")])
def test_a_photos_field_of_view(tiny, choice, weights):
    adapter = adapters(f"fov={choice}", f"fov.path={tiny[weights]}")["fov"]
    check_fov_estimator(adapter)


def test_a_fixed_field_of_view():
    photo = Photo(torch.rand(3, 48, 64), Path("photo.jpg"), "0" * 64, Lens())
    assert adapters("fov=fixed", "fov.deg=44")["fov"](photo).deg == 44


@pytest.mark.parametrize(
    ("choice", "weights"), [("moge", "moge2"), ("depth_pro", "depth_pro"), ("depth_anything", "depth_anything")]
)
def test_a_views_depth(tiny, choice, weights):
    check_depth_estimator(adapters(f"view_depth={choice}", f"view_depth.path={tiny[weights]}")["view_depth"])


@pytest.mark.parametrize("choice", ["paper", "moge", "depth_pro", "metric3d", "da360", "dap"])
def test_making_a_choice_costs_nothing_and_needs_nothing(choice):
    assert adapters(f"depth={choice}")["depth"].parts()
