"""Latents of pictures that come again: pytest tests/test_kept_latents.py"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save

pytest.importorskip("diffusers")

from tests.controlnet_training import train
from train.diffusion.kept_latents import KeptLatents
from train.diffusion.latents import to_latents
from worldgen.errors import UserError

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def vae(checkpoints):
    from diffusers import AutoencoderKL

    return AutoencoderKL.from_pretrained(checkpoints["sd"], subfolder="vae").eval()


def pictures(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def noise_of(vae, rgb: torch.Tensor) -> torch.Tensor:
    shape = vae.encode(rgb).latent_dist.mean.shape
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_they_are_what_the_autoencoder_says_and_it_is_asked_once(vae, tmp_path, monkeypatch):
    rgb = pictures(3)
    noise = noise_of(vae, rgb)
    wanted = to_latents(vae, rgb, noise)
    kept = KeptLatents(vae, tmp_path / "latents")
    first = kept(rgb, noise)
    torch.testing.assert_close(first, wanted, atol=1e-5, rtol=1e-4)
    assert not torch.equal(kept(rgb, noise.flip(0)), first)
    monkeypatch.setattr(vae, "encode", None)
    again = KeptLatents(vae, tmp_path / "latents")
    assert torch.equal(again(rgb[1:], noise[1:]), first[1:])
    assert (kept.made, kept.found, again.made, again.found) == (3, 3, 0, 2)


@torch.no_grad()
def test_other_weights_other_pixels_and_broken_files_are_worked_out(vae, tmp_path):
    rgb = pictures(1)
    noise = noise_of(vae, rgb)
    KeptLatents(vae, tmp_path)(rgb, noise)
    (file,) = tmp_path.iterdir()
    other = {"mean": torch.zeros(3), "std": torch.zeros(3)}
    endless = {name: torch.full_like(tensor, torch.inf) for name, tensor in load_file(file).items()}
    for content in (b"nothing", save(other), save(endless)):
        file.write_bytes(content)
        broken = KeptLatents(vae, tmp_path)
        torch.testing.assert_close(broken(rgb, noise), to_latents(vae, rgb, noise))
        assert (broken.made, broken.found) == (1, 0)
    broken(rgb + 1e-4, noise)
    assert (broken.made, broken.found) == (2, 0)
    next(vae.parameters()).data += 0.01
    other = KeptLatents(vae, tmp_path)
    torch.testing.assert_close(other(rgb, noise), to_latents(vae, rgb, noise))
    assert (other.made, other.found) == (1, 0)


def test_without_a_folder_nothing_is_kept(vae):
    rgb = pictures(2)
    noise = noise_of(vae, rgb)
    plain = KeptLatents(vae, None)
    assert torch.equal(plain(rgb, noise), to_latents(vae, rgb, noise))
    assert (plain.made, plain.found) == (0, 0)


def test_a_folder_that_cannot_be_made_is_one_line(vae, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be made .*, wanted a folder for latents"):
        KeptLatents(vae, tmp_path / "file/latents")


def test_a_disk_that_takes_nothing_is_told_once_and_left_clean(vae, tmp_path, monkeypatch, caplog):
    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    kept, rgb = KeptLatents(vae, tmp_path), pictures(2)
    noise = noise_of(vae, rgb)
    kept(rgb, noise)
    kept(rgb, noise)
    assert (kept.made, kept.found, list(tmp_path.iterdir())) == (4, 0, [])
    assert caplog.text.count("latents cannot be kept there") == 1


def test_a_training_comes_to_the_same_with_latents_that_were_kept(checkpoints, tmp_path):
    options = {"latents": str(tmp_path / "latents"), "validation_samples": 0}
    cold = train(checkpoints["sd"], tmp_path / "cold", **options)
    warm = train(checkpoints["sd"], tmp_path / "warm", **options)
    assert cold["latents_made"] > 0
    assert (warm["latents_made"], warm["latents_found"]) == (0, 12)
    weights = [load_file(tmp_path / name / "controlnet" / WEIGHTS) for name in ("cold", "warm")]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
