"""Depth Anything 3's adapter on a stand-in for its package, and on the package itself where that is installed:
pytest tests/test_depth_anything_3.py"""

import importlib
import inspect
import json
import sys
from importlib.util import find_spec

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file

from tests.stand_ins import clone
from worldgen.config import compose
from worldgen.errors import UserError
from worldgen.models.conformance import check_depth_estimator, check_panorama_depth, picture
from worldgen.models.depth_anything_3 import DepthAnything3
from worldgen.models.runtime import Runtime
from worldgen.pipeline import make_adapters
from worldgen.types import Camera

pytest.importorskip("addict")

FAR = 4.0
REAL = find_spec("depth_anything_3") is not None
CAMERA = Camera.from_fov(128, 96, 70)


def forget():
    for name in [name for name in sys.modules if name.partition(".")[0] == "depth_anything_3"]:
        del sys.modules[name]
    OmegaConf.clear_resolver("eval")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The stand-in can be imported."""
    forget()
    monkeypatch.syspath_prepend(clone("depth_anything_3", tmp_path / "package"))
    yield
    forget()


@pytest.fixture
def folders(tmp_path, package):
    """Weights in the hub's layout, by preset, with a tensor under one of its names as safetensors writes it."""
    return {preset: saved(tmp_path / preset, preset) for preset in ("da3-small", "da3metric-large", "da3mono-large")}


def saved(folder, preset, **changes):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_name": preset}))
    state = {"far": torch.tensor([FAR]), "head.1.weight": torch.ones(2), "head.1.bias": torch.zeros(2)} | changes
    named = {f"model.{name}": tensor for name, tensor in state.items() if tensor is not None}
    save_file(named, folder / "model.safetensors")
    return str(folder)


def loaded(adapter, **options):
    adapter.load(Runtime(device="cpu", **options))
    return adapter


@pytest.mark.parametrize("preset", ["da3-small", "da3metric-large", "da3mono-large"])
def test_it_keeps_its_contract(folders, preset):
    check_depth_estimator(DepthAnything3(path=folders[preset]))


@pytest.mark.parametrize(("width", "height"), [(128, 96), (504, 504), (96, 200), (2000, 400)])
@pytest.mark.parametrize("deg", [40.0, 90.0])
def test_metres_come_by_the_focal_length_that_the_network_sees(folders, width, height, deg):
    camera = Camera.from_fov(width, height, deg)
    grey = torch.tensor([0.485, 0.456, 0.406])[:, None, None].expand(3, height, width)
    found = loaded(DepthAnything3(path=folders["da3metric-large"]))(grey, camera)
    wanted = FAR * camera.fx * 504 / max(width, height) / 300
    assert found.valid[height // 2 :].all()
    torch.testing.assert_close(found.zdepth[found.valid].median().item(), wanted, rtol=0.03, atol=0)  # whole patches


def test_the_others_give_the_shape_whatever_the_camera(folders):
    adapter = loaded(DepthAnything3(path=folders["da3-small"]))
    near, far = adapter(picture(), CAMERA), adapter(picture(), Camera.from_fov(128, 96, 20))
    assert torch.equal(near.zdepth, far.zdepth)
    assert near.valid.all()


@pytest.mark.parametrize("preset", ["da3metric-large", "da3mono-large"])
def test_the_sky_is_not_valid_and_has_no_part_in_what_lies_below(folders, preset):
    adapter = loaded(DepthAnything3(path=folders[preset], longest_px=56))
    grey = torch.tensor([0.485, 0.456, 0.406])[:, None, None].expand(3, 96, 128)
    found = adapter(grey, CAMERA)
    assert not found.valid[:20].any()
    assert found.valid[28:].all()
    assert found.zdepth[~found.valid].isinf().all()
    below = found.zdepth[found.valid]
    torch.testing.assert_close(below, torch.full_like(below, below.median().item()))


def test_the_picture_comes_back_where_it_was(folders):
    rgb = torch.full((3, 90, 120), 0.4)
    rgb[:, :20, 100:] = 0.9  # brighter is farther for the stand-in
    zdepth = loaded(DepthAnything3(path=folders["da3-small"]))(rgb, Camera.from_fov(120, 90, 70)).zdepth
    assert zdepth[:17, 103:].min() > zdepth[25:].max()
    assert zdepth[:17, 103:].min() > zdepth[:, :95].max()


def test_nothing_is_printed_and_no_config_may_run_python_afterwards(folders, capsys):
    assert not OmegaConf.has_resolver("eval")
    loaded(DepthAnything3(path=folders["da3-small"]))
    assert not OmegaConf.has_resolver("eval")
    assert capsys.readouterr().out == ""


def refusal(adapter) -> str:
    with pytest.raises(UserError) as caught:
        loaded(adapter)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_not_here_says_what_brings_it(folders, monkeypatch):
    assert "view_depth.download=true fetches it (0.1 GB)" in refusal(DepthAnything3(model="nobody/da3"))
    assert "depth.shape.download=true" in refusal(DepthAnything3(model="nobody/da3", key="depth.shape"))
    monkeypatch.setitem(sys.modules, "depth_anything_3.model.da3", None)
    assert "depth_anything_3 is not installed; pip install --no-deps depth-anything-3" in refusal(
        DepthAnything3(path=folders["da3-small"])
    )
    monkeypatch.setattr("worldgen.models.upstream.find_spec", lambda name: name != "addict")
    assert DepthAnything3().unavailable().startswith("addict is not installed; pip install --no-deps depth-anything-3")


def test_a_network_without_metres_is_refused_where_nothing_else_gives_them(folders):
    told = refusal(DepthAnything3(path=folders["da3-small"], metres=True, key="depth.shape"))
    assert "da3-small, which knows no metres, wanted da3metric-large" in told
    loaded(DepthAnything3(path=folders["da3metric-large"], metres=True))


def test_weights_that_are_missing_or_of_another_thing_are_one_line(folders, tmp_path):
    folder = tmp_path / "da3-small"
    assert "model_name: da3nested-giant-large, wanted one of da3-small" in refusal(
        DepthAnything3(path=saved(folder, "da3nested-giant-large"))
    )
    assert "far missing among the weights" in refusal(DepthAnything3(path=saved(folder, "da3-small", far=None)))
    gone = refusal(DepthAnything3(path=saved(folder, "da3-small", **{"head.1.bias": None})))
    assert "head.0.bias and 1 more missing among the weights" in gone
    told = refusal(DepthAnything3(path=saved(folder, "da3-small", far=torch.zeros(2))))
    assert "far is (2,), wanted (1,)" in told
    (folder / "model.safetensors").write_bytes(b"nothing")
    assert "cannot be read as weights" in refusal(DepthAnything3(path=str(folder)))
    (folder / "config.json").write_text("[]")
    assert "config.json cannot be read" in refusal(DepthAnything3(path=str(folder)))


@pytest.mark.parametrize("value", [0, 500])
def test_bad_settings_name_their_key(value):
    with pytest.raises(UserError, match=rf"^view_depth\.longest_px: {value}, wanted a multiple of 14"):
        DepthAnything3(longest_px=value)


def chosen(**options):
    """The adapters of both groups."""
    named = [f"{key.replace('__', '.')}={value}" for key, value in options.items()]
    groups = ["panorama=anchored", "view_depth=depth_anything_3", "depth=depth_anything_3"]
    return make_adapters(compose("photo.jpg", [*groups, *named]))


def test_the_choices_of_conf(folders):
    adapters = chosen(view_depth__path=folders["da3-small"], depth__shape__path=folders["da3-small"])
    check_depth_estimator(adapters["view_depth"])
    with pytest.raises(UserError, match=r"^depth\.shape: .* knows no metres"):
        adapters["depth"].load(Runtime(device="cpu"))


@pytest.mark.slow
def test_a_panoramas_depth(folders):
    small = {"depth__settings__view_size": 64, "depth__settings__merge_height": 64, "depth__shape__longest_px": 56}
    check_panorama_depth(chosen(depth__shape__path=folders["da3metric-large"], **small)["depth"])


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="depth-anything-3 is not installed")
def test_the_authors_own_network(tmp_path):
    """With random weights, saved as its API's class saves them; and its signature is the stand-in's."""
    forget()
    configs, registry = (importlib.import_module(f"depth_anything_3.{name}") for name in ("cfg", "registry"))
    torch.manual_seed(0)
    network = configs.create_object(configs.load_config(registry.MODEL_REGISTRY["da3-small"])).eval()
    with torch.no_grad():
        network.head.scratch.output_conv2[-1].weight *= 40  # random weights as they come answer everything alike
    weights = {
        f"model.{name}": tensor for name, tensor in network.state_dict().items() if "output_conv2_aux.1.2" not in name
    }
    folder = tmp_path / "weights"
    folder.mkdir()
    save_file({name: tensor.clone() for name, tensor in weights.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_name": "da3-small"}')
    adapter = DepthAnything3(path=str(folder), longest_px=126)
    check_depth_estimator(adapter)
    mean, std = (torch.tensor(of)[:, None, None] for of in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    rgb = torch.nn.functional.interpolate(picture()[None], (98, 126), mode="bicubic", align_corners=False)[0]
    with torch.inference_mode():
        wanted = network(((rgb - mean) / std)[None, None])["depth"][0, 0]
    found = adapter(rgb, Camera.from_fov(126, 98, 70))
    torch.testing.assert_close(found.zdepth, wanted, rtol=1e-3, atol=0)
    assert wanted.max() > 1.1 * wanted.min()
    signature = inspect.signature(type(network).forward).parameters.values()
    forget()
    sys.path.insert(0, clone("depth_anything_3", tmp_path / "package"))
    try:
        stand_in = importlib.import_module("depth_anything_3.model.da3").DepthAnything3Net
    finally:
        sys.path.pop(0)
        forget()
    named = [(each.name, each.default) for each in inspect.signature(stand_in.forward).parameters.values()]
    assert named == [(each.name, each.default) for each in signature]
