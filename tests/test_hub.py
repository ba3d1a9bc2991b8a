"""What a folder or the hub's cache lacks is named before anything is loaded; weights go where their names say."""

import json

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import nn

from worldgen.errors import UserError
from worldgen.models.hub import HubWeights, load_whole_into, missing_package


def weights(path, **options) -> HubWeights:
    return HubWeights("owner/name", "1 GB", "inpainter", str(path), **options)


def write_network(folder, name: str = "model.safetensors") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    save_file(nn.Linear(2, 3).state_dict(), folder / name)


def test_a_pipeline_is_whole_with_all_its_parts(tmp_path):
    index = {"_class_name": "P", "unet": ["diffusers", "U"], "scheduler": ["diffusers", "S"], "safety": [None, None]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    assert "no unet/ in it" in weights(tmp_path).unavailable()
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text("{}")
    (tmp_path / "scheduler").mkdir()
    reason = weights(tmp_path).unavailable()
    assert reason == (
        f"inpainter.path: {tmp_path}: unet/: no model.safetensors or pytorch_model.bin in it, "
        "wanted owner/name in the hub's layout"
    )
    write_network(tmp_path / "unet", "diffusion_pytorch_model.safetensors")
    assert weights(tmp_path).unavailable() is None
    before = weights(tmp_path).versions()["sha256"]
    (tmp_path / "unet" / "config.json").write_text('{"changed": 1}')
    assert weights(tmp_path).versions()["sha256"] != before


def test_a_snapshot_that_is_not_whole_says_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--owner--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0123")
    (repository / "snapshots" / "0123").mkdir(parents=True)
    (repository / "snapshots" / "0123" / "config.json").write_text("{}")
    reason = HubWeights("owner/name", "", "inpainter").unavailable()
    assert reason.startswith(
        "owner/name is not whole in the local hub cache (no model.safetensors or pytorch_model.bin"
    )
    assert reason.endswith("set inpainter.path=<folder>")


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_weights_are_loaded_by_name_into_a_network_without_any(suffix, tmp_path):
    state = nn.Linear(2, 3).half().state_dict()
    (tmp_path / "config.json").write_text("{}")
    if suffix == "bin":
        torch.save(state, tmp_path / "pytorch_model.bin")
    else:
        save_file(state | {"unused": torch.zeros(1)}, tmp_path / "model.safetensors")
    with torch.device("meta"):
        network = nn.Linear(2, 3)
    network = load_whole_into(network, tmp_path)
    assert torch.equal(network.weight, state["weight"])
    assert network.weight.dtype == torch.float16
    assert not network.weight.requires_grad


def test_missing_weights_and_other_shapes_are_named(tmp_path):
    write_network(tmp_path)
    with pytest.raises(UserError, match=r"0\.weight and 1 more missing among the weights"):
        load_whole_into(nn.Sequential(nn.Linear(2, 3)), tmp_path)
    with pytest.raises(UserError, match=r"weight is \(3, 2\) among the weights, wanted \(3, 4\)"):
        load_whole_into(nn.Linear(4, 3), tmp_path)
    with pytest.raises(UserError, match=r"no config\.json in it"):
        load_whole_into(nn.Linear(4, 3), tmp_path.parent)


def test_a_missing_package_names_the_extra_that_brings_it():
    assert missing_package("torch", extra="models") is None
    assert missing_package("no-such-package", extra="models") == (
        "no-such-package is not installed; pip install 'worldgen[models]' brings it"
    )
