"""Depth Anything 3's poses, on a stand-in for its package, and on the package itself where that is installed:
pytest tests/test_depth_anything_3_poses.py"""

import importlib
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from tests.test_depth_anything_3 import FAR, REAL, forget, package, refusal, saved  # noqa: F401  # a fixture
from worldgen.config import compose_program, instantiate
from worldgen.models.conformance import check_pose_estimator, picture
from worldgen.models.depth_anything_3_poses import DepthAnything3Poses
from worldgen.models.runtime import Runtime

pytest.importorskip("addict")

TURN_DEG = 10.0


@pytest.fixture
def folder(tmp_path, package):  # noqa: F811
    return saved(tmp_path / "da3-small", "da3-small", turn_deg=torch.tensor([TURN_DEG]))


def loaded(folder):
    adapter = DepthAnything3Poses(path=folder)
    adapter.load(Runtime(device="cpu"))
    return adapter


def test_it_keeps_its_contract(folder):
    check_pose_estimator(DepthAnything3Poses(path=folder))


def test_its_cameras_are_those_of_the_network_at_the_size_of_the_frames(folder):
    """The network sees 504x280 of 128x72; its w2c, in OpenCV's axes, turn to the right and stand half a unit left."""
    found = loaded(folder)(torch.rand(3, 3, 72, 128, generator=torch.Generator().manual_seed(0)))
    for number, each in enumerate(found):
        camera = each.camera
        assert (camera.width, camera.height) == (128, 72)
        assert camera.fx == pytest.approx(0.8 * 128)
        assert camera.fy == pytest.approx(0.8 * 504 * 72 / 280)
        assert (camera.cx, camera.cy) == pytest.approx((64, 36))
        turn = torch.deg2rad(torch.tensor(TURN_DEG * number))
        ahead = torch.stack([turn.sin(), torch.tensor(0.0), turn.cos()])
        torch.testing.assert_close(camera.c2w[:3, 2], ahead, atol=1e-5, rtol=0)
        torch.testing.assert_close(
            camera.c2w[:3, :3].T @ camera.position, torch.tensor([-0.5, 0, 0]), atol=1e-5, rtol=0
        )
        assert FAR * 0.7 < each.depth.zdepth.median() < FAR * 1.4


def test_brighter_is_farther_and_surer_for_the_stand_in_where_it_was(folder):
    rgb = torch.full((1, 3, 90, 120), 0.4)
    rgb[..., :20, 100:] = 0.9
    found = loaded(folder)(rgb)[0]
    for values in (found.depth.zdepth, found.sure):
        assert values[:17, 103:].min() > values[25:].max()


def test_nothing_is_printed(folder, capsys):
    loaded(folder)(torch.rand(3, 3, 72, 128))
    assert capsys.readouterr().out == ""


def test_a_network_of_one_view_knows_no_poses(tmp_path, package):  # noqa: F811
    told = refusal(DepthAnything3Poses(path=saved(tmp_path / "mono", "da3mono-large")))
    assert "da3mono-large, which knows no poses, wanted one of da3-small" in told


def test_the_choice_of_conf(folder):
    config = compose_program("data_pose", [f"poses.path={folder}"])
    check_pose_estimator(instantiate(config.poses))


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="depth-anything-3 is not installed")
def test_the_authors_own_network(tmp_path):
    """With random weights: cameras and depths are what its own code answers."""
    forget()
    configs, registry = (importlib.import_module(f"depth_anything_3.{name}") for name in ("cfg", "registry"))
    torch.manual_seed(0)
    network = configs.create_object(configs.load_config(registry.MODEL_REGISTRY["da3-small"])).eval()
    with torch.no_grad():
        network.cam_dec.fc_t.weight *= 10
        network.cam_dec.fc_fov[0].bias += 1.0
        network.cam_dec.fc_qvec.bias += torch.tensor([0.1, -0.2, 0.0, 1.0])
    weights = {f"model.{name}": tensor.clone() for name, tensor in network.state_dict().items()}
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_name": "da3-small"}))
    adapter = replace(DepthAnything3Poses(path=str(tmp_path)), longest_px=126)
    check_pose_estimator(adapter)
    mean, std = (torch.tensor(of)[:, None, None] for of in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    pictures = torch.stack([picture(number) for number in range(4)])
    rgb = torch.nn.functional.interpolate(pictures, (98, 126), mode="bicubic", align_corners=False).clamp(0, 1)
    with torch.inference_mode():
        wanted = network(((rgb - mean) / std)[None])
    for number, each in enumerate(adapter(rgb)):
        torch.testing.assert_close(each.camera.w2c[:3], wanted["extrinsics"][0, number], atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(each.camera.intrinsics, wanted["intrinsics"][0, number], atol=1e-2, rtol=1e-3)
        torch.testing.assert_close(each.depth.zdepth, wanted["depth"][0, number], atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(each.sure, wanted["depth_conf"][0, number], atol=1e-4, rtol=1e-3)
    forget()
