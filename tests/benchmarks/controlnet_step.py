"""How long is a training step, beside diffusers' own loop? `python -m tests.benchmarks.controlnet_step [--size sd15]`

The reference is the loop of diffusers' example `train_controlnet.py`, with nothing around it: encode, add noise,
ControlNet, UNet, mean squared error, backward, clip, AdamW. Both are given the same networks of random weights, a
text-to-image UNet (that loop knows no inpainting ones), float32, and take steps by turns; ours is a whole step of
Lightning's, with its callbacks. The last line is one JSON object: seconds of the median step, their ratio, memory.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.tiny_diffusion import LATENTS, save_sd
from train.controlnet.module import ControlNetModule, parameters_of
from train.controlnet.settings import ControlNetSettings
from train.data.pairs import ConditionedBatch
from train.lightning.loggers import quiet_lightning
from train.lightning.settings import TrainingSettings
from train.lightning.step_callback import StepCallback
from train.lightning.trainer import train_module
from worldgen.models.controlnet import condition
from worldgen.models.diffusion import DiffusionInpainter
from worldgen.models.runtime import Runtime

WANTED = 1.05
_RATE, _CLIP = 1e-5, 1.0


@dataclass(frozen=True)
class Size:
    """widths: of the UNet's levels; pixels: of a sample; steps: that are timed of each."""

    widths: tuple[int, ...]
    pixels: int
    batch: int
    steps: int


SIZES = {
    "tiny": Size((32, 64), 64, 4, 30),
    "small": Size((64, 128, 128), 128, 8, 15),
    "sd15": Size((320, 640, 1280, 1280), 256, 1, 4),  # Stable Diffusion 1.5's widths and layers
}


def inpainter_of(size: Size, folder: Path) -> DiffusionInpainter:
    """A text-to-image checkpoint of that size, loaded; its autoencoder and text encoder are tiny."""
    import diffusers

    save_sd(folder, LATENTS, "StableDiffusionPipeline")
    made = DiffusionInpainter("owner/name", path=str(folder), steps=2)
    made.load(Runtime())
    levels = len(size.widths)
    torch.manual_seed(0)
    made.pipe.unet = diffusers.UNet2DConditionModel(
        sample_size=size.pixels // 8,
        block_out_channels=size.widths,
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D",) * (levels - 1) + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (levels - 1),
        cross_attention_dim=made.pipe.text_encoder.config.hidden_size,
        attention_head_dim=8,
    )
    return made


def batch_of(size: Size, number: int) -> ConditionedBatch:
    generator = torch.Generator().manual_seed(number)
    rgb = torch.rand(size.batch, 3, size.pixels, size.pixels, generator=generator)
    known = torch.rand(size.batch, size.pixels, size.pixels, generator=generator) < 0.7
    numbers = list(range(number * size.batch, (number + 1) * size.batch))
    return ConditionedBatch(rgb, rgb * known[:, None], known, ["a room"] * size.batch, numbers)


@dataclass(frozen=True)
class Made:
    """Batches one after the other; Lightning takes a list for several loaders."""

    size: Size
    count: int

    def __iter__(self) -> Iterator[ConditionedBatch]:
        return (batch_of(self.size, number) for number in range(self.count))


def reference(pipe: Any, size: Size) -> Iterator[float]:
    """Seconds of each step of diffusers' loop."""
    import diffusers

    network = diffusers.ControlNetModel.from_unet(pipe.unet, conditioning_channels=4).train()
    schedule = diffusers.DDPMScheduler.from_config(pipe.scheduler.config)
    optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=1e-2)
    number = 0
    while True:
        batch = batch_of(size, number)
        began = time.perf_counter()
        loss = _reference_loss(pipe, network, schedule, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        yield time.perf_counter() - began
        number += 1


def _reference_loss(pipe: Any, network: Any, schedule: Any, batch: ConditionedBatch) -> Tensor:
    with torch.no_grad():
        latents = pipe.vae.encode(2 * batch.rgb - 1).latent_dist.sample() * pipe.vae.config.scaling_factor
        tokens = pipe.tokenizer(batch.prompts, padding="max_length", return_tensors="pt").input_ids
        text = pipe.text_encoder(tokens)[0]
    noise = torch.randn_like(latents)
    timesteps = torch.randint(0, 1000, (len(latents),))
    noisy = schedule.add_noise(latents, noise, timesteps)
    shown = condition(batch.condition, batch.known)
    down, middle = network(noisy, timesteps, text, controlnet_cond=shown, return_dict=False)
    residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
    answer = pipe.unet(noisy, timesteps, text, return_dict=False, **residuals)[0]
    return F.mse_loss(answer.float(), noise.float(), reduction="mean")


class Turns(StepCallback):
    """After each of our steps, one of the reference's; seconds of both."""

    def __init__(self, other: Iterator[float]) -> None:
        self._other = other
        self.ours: list[float] = []
        self.theirs: list[float] = []
        self._began = 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        self._began = time.perf_counter()

    def on_step_end(self, trainer: Any, module: Any, step: int) -> None:
        self.ours.append(time.perf_counter() - self._began)
        self.theirs.append(next(self._other))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m tests.benchmarks.controlnet_step", description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    name = parser.parse_args(arguments).size
    size = SIZES[name]
    settings = ControlNetSettings(
        size.steps + 1, size.batch, rate=_RATE, warmup=0, min_snr_gamma=None, prompt_dropout=0.0,
        gradient_checkpointing=False, workers=0, clip_norm=_CLIP,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        inpainter = inpainter_of(size, Path(folder) / "checkpoint")
        module = ControlNetModule(inpainter, settings, 0)
        turns = Turns(reference(inpainter.pipe, size))
        batches = Made(size, settings.steps)
        training = TrainingSettings(
            settings.steps, "", 10**9, trainer={"accelerator": "cpu", "gradient_clip_val": _CLIP}
        )
        with quiet_lightning():
            train_module(module, batches, training, Path(folder) / "out", "a", callbacks=[turns])
    ours, theirs = (statistics.median(each[1:]) for each in (turns.ours, turns.theirs))  # the first warms up
    print(f"{name}: ours {ours:.3f} s, diffusers' loop {theirs:.3f} s a step")
    told = {
        "size": name,
        "pixels": size.pixels,
        "batch": size.batch,
        "unet_parameters": parameters_of(inpainter.pipe.unet),
        "controlnet_parameters": parameters_of(module.network),
        "ours_s": round(ours, 4),
        "diffusers_s": round(theirs, 4),
        "ratio": round(ours / theirs, 3),
        "wanted": WANTED,
        "memory_gb": round(psutil.Process().memory_info().rss / 2**30, 2),
    }
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
