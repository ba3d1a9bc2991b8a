"""DA360 and DAP on stand-ins for their repositories: pytest tests/test_panorama_networks.py"""

import sys

import pytest
import torch

from tests.stand_ins import clone
from worldgen.errors import UserError
from worldgen.models.conformance import check_panorama_depth, panorama
from worldgen.models.panorama_networks import Da360, Dap
from worldgen.models.runtime import Runtime
from worldgen.recipe.depth import ground_height
from worldgen.recipe.native_depth import NativeDepth
from worldgen.types import Prompts

PROMPTS = Prompts("a place", "above", "below", False, "a test")


@pytest.fixture
def da360(tmp_path):
    file = tmp_path / "DA360_large.pth"
    torch.save({"nearness": torch.tensor([0.5]), "height": 56, "width": 112, "dinov2_encoder": "vitl"}, file)
    return {"checkout": clone("da360", tmp_path / "da360"), "path": str(file)}


@pytest.fixture
def dap(tmp_path):
    torch.save({"module.far": torch.tensor([0.03])}, tmp_path / "model.pth")
    return {"checkout": clone("dap", tmp_path / "dap"), "path": str(tmp_path), "rows": 64}


def found(network, **settings):
    depth = NativeDepth(network, **settings)
    depth.load(Runtime())
    return depth(panorama(), PROMPTS)


def test_both_keep_the_contract(da360, dap):
    check_panorama_depth(NativeDepth(Da360(**da360)))
    check_panorama_depth(NativeDepth(Dap(**dap)))


def test_what_is_missing_is_told_before_anything_is_loaded(da360, dap, tmp_path):
    assert Da360(**da360).unavailable() is None
    assert Dap(**dap).unavailable() is None
    assert "git clone" in str(Da360(path=da360["path"]).unavailable())
    assert "depth.network.path: null, wanted DA360's file" in str(Da360(checkout=da360["checkout"]).unavailable())
    assert "no model.pth there" in str(Dap(checkout=dap["checkout"], path=str(tmp_path / "none")).unavailable())


def test_a_shape_gets_its_scale_from_the_cameras_height(da360):
    for height in (1.6, 3.2):
        distances = found(Da360(**da360), camera_height_m=height)
        assert ground_height(distances.distance) == pytest.approx(height, rel=0.01)
        assert not distances.sky.any()


def test_metres_stay_and_the_sky_is_the_networks(dap):
    distances = found(Dap(**dap), camera_height_m=50.0, min_ground_m=0.1)
    assert distances.sky[:15].all()
    assert not distances.sky[18:].any()
    assert (distances.distance[distances.sky] == 100).all()
    mean = panorama().rgb.mean(0)
    expected = 100 * 0.03 * (0.5 + mean)
    assert (distances.distance / expected).log().abs()[20:].quantile(0.9) < 0.05


def test_a_ground_that_is_too_near_is_lowered(dap):
    assert ground_height(found(Dap(**dap), min_ground_m=5.0).distance) == pytest.approx(5, rel=0.01)


def test_the_authors_modules_are_forgotten_so_that_one_comes_after_the_other(da360, dap):
    for network in (Da360(**da360), Dap(**dap), Da360(**da360)):
        network.load(Runtime())
        assert "networks" not in sys.modules


def refusal(network) -> str:
    with pytest.raises(UserError) as caught:
        network.load(Runtime())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_not_here_says_what_brings_it(da360, dap, tmp_path):
    assert "depth.network.checkout: null, wanted a folder with networks/da360.py; git clone" in refusal(Da360())
    assert "depth.network.path: null, wanted DA360's file" in refusal(Da360(da360["checkout"]))
    assert "depth.network.path: nowhere.pth, wanted DA360's file" in refusal(Da360(da360["checkout"], "nowhere.pth"))
    assert "depth.network.download=true fetches it" in refusal(Dap(dap["checkout"]))
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pth")
    assert "nearness missing among the weights" in refusal(Da360(da360["checkout"], str(tmp_path / "other.pth")))


def test_bad_settings_name_their_key(dap):
    with pytest.raises(UserError, match=r"^depth\.network\.rows: 100, wanted a multiple of 16"):
        Dap(rows=100)
    with pytest.raises(UserError, match=r"^depth\.sky_m: 0"):
        NativeDepth(Dap(), sky_m=0)
