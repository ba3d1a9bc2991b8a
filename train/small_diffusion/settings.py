"""What can be set of the small networks and of their training; nothing here takes long to import."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import get_args

from train.lightning.settings import LoggerName
from worldgen.errors import expect, expect_whole_numbers, is_whole

LEVELS = 4  # of the autoencoder: a latent stands for 8 x 8 pixels, as a ControlNet's embedding of its condition does
LATENTS = 4  # of the autoencoder: diffusers' inpainting pipeline takes a network of 2 x 4 + 1 channels or none


@dataclass(frozen=True)
class AutoencoderSettings:
    """widths: channels at 1, 1/2, 1/4 and 1/8 of the size; latents: channels of one. crop: pixels of the square pieces
    that it is trained on; batch: of them a step. rate: Adam's highest. gradients, kl: weights of these parts of the
    loss beside the absolute error."""

    steps: int = 450
    batch: int = 8
    crop: int = 64
    widths: Sequence[int] = (16, 24, 48, 80)
    groups: int = 4
    latents: int = LATENTS
    rate: float = 4e-4
    gradients: float = 0.5
    kl: float = 1e-5

    def __post_init__(self) -> None:
        expect_whole_numbers("autoencoder", self)
        expect("autoencoder.steps", self.steps, self.steps >= 1, "1 or more")
        expect("autoencoder.batch", self.batch, self.batch >= 1, "1 or more")
        fits = self.crop >= 16 and self.crop % 2 ** (LEVELS - 1) == 0
        expect("autoencoder.crop", self.crop, fits, "a multiple of 8 from 16")
        _expect_widths("autoencoder", self.widths, self.groups, LEVELS)
        fits = self.groups >= 3 and all(width >= 4 * self.groups for width in self.widths)  # see thumbnails.py
        expect("autoencoder.groups", self.groups, fits, "3 or more, each of 4 channels or more at every width")
        fits = all(one < other for one, other in pairwise(self.widths))
        expect("autoencoder.widths", list(self.widths), fits, "each larger than the one before")
        expect("autoencoder.latents", self.latents, self.latents == LATENTS, f"{LATENTS}")
        expect("autoencoder.rate", self.rate, 0 < self.rate <= 1, "above 0, at most 1")
        for name in ("gradients", "kl"):
            expect(f"autoencoder.{name}", getattr(self, name), getattr(self, name) >= 0, "0 or more")


@dataclass(frozen=True)
class PoolSettings:
    """pictures: how many are encoded; masks: of each. Every pair of them is one sample of the inpainter's."""

    pictures: int = 1500
    masks: int = 3

    def __post_init__(self) -> None:
        expect_whole_numbers("pool", self)
        expect("pool.pictures", self.pictures, self.pictures >= 1, "1 or more")
        expect("pool.masks", self.masks, self.masks >= 1, "1 or more")


@dataclass(frozen=True)
class DenoiserSettings:
    """widths: channels at a latent's size and each half of it; heads: of its attention, below the first size. rate:
    Adam's highest; ema: share of the average of its weights that a step keeps; min_snr_gamma: see
    `train.diffusion.objective.Objective`; prediction: of the network, by diffusers' names."""

    steps: int = 1800
    batch: int = 16
    widths: Sequence[int] = (64, 80, 96)
    groups: int = 16
    layers: int = 1
    heads: int = 4
    rate: float = 1e-3
    ema: float = 0.998
    min_snr_gamma: float | None = 5.0
    prediction: str = "v_prediction"

    def __post_init__(self) -> None:
        expect_whole_numbers("denoiser", self)
        for name in ("steps", "batch", "layers", "heads"):
            expect(f"denoiser.{name}", getattr(self, name), getattr(self, name) >= 1, "1 or more")
        _expect_widths("denoiser", self.widths, self.groups)
        expect("denoiser.rate", self.rate, 0 < self.rate <= 1, "above 0, at most 1")
        expect("denoiser.ema", self.ema, 0 <= self.ema < 1, "0 or more, less than 1")


@dataclass(frozen=True)
class SmallDiffusionSettings:
    """All of it. checkpoint_every: steps; logger: where the curves go."""

    autoencoder: AutoencoderSettings = field(default_factory=AutoencoderSettings)
    pool: PoolSettings = field(default_factory=PoolSettings)
    denoiser: DenoiserSettings = field(default_factory=DenoiserSettings)
    checkpoint_every: int = 200
    logger: LoggerName = "csv"

    def __post_init__(self) -> None:
        fits = is_whole(self.checkpoint_every) and self.checkpoint_every >= 1
        expect("training.checkpoint_every", self.checkpoint_every, fits, "a whole number from 1")
        expect("training.logger", self.logger, self.logger in get_args(LoggerName), "one of none, csv, wandb")


def _expect_widths(key: str, widths: Sequence[int], groups: int, count: int | None = None) -> None:
    expect(f"{key}.groups", groups, groups >= 1, "1 or more")
    fits = len(widths) == count if count else len(widths) >= 1
    expect(f"{key}.widths", list(widths), fits, f"{count or 'some'} of them")
    fits = all(is_whole(width) and width >= 1 and width % groups == 0 for width in widths)
    expect(f"{key}.widths", list(widths), fits, f"multiples of {key}.groups, {groups}")
