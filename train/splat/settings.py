"""Step 8, splat: what can be set, and what comes of it (paper, "3DGS" and "Trainable distortion").

    python -m train.splat views=<folder>     # fits Gaussians to any posed views

`optimizer.py` does what they say. Nothing here takes long to import: a wrong setting is told before that.
"""

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, get_args

from train.lightning.settings import LoggerName
from worldgen.errors import expect, expect_whole_numbers

if TYPE_CHECKING:
    from worldgen.splat.density import DensitySettings
    from worldgen.types import Gaussians

Decay = Literal["exponential", "linear"]

_COARSEST = 4  # halvings: a view of 1024 pixels becomes one of 64


@dataclass(frozen=True, eq=False)
class SplatResult:
    """The finished Gaussians, on the CPU, and facts about their making for the report."""

    gaussians: "Gaussians"
    facts: dict[str, Any]


@dataclass(frozen=True)
class DistortionSettings:
    """Of the trainable distortion field. grid: nodes per axis, 128 in the paper; rate: Adam's."""

    grid: int = 32
    rate: float = 1e-3

    def __post_init__(self) -> None:
        expect_whole_numbers("splat.correction.distortion", self)
        expect("splat.correction.distortion.grid", self.grid, self.grid >= 2, "2 or more")
        _expect_rate("correction.distortion.rate", self.rate)


@dataclass(frozen=True)
class BilateralSettings:
    """Of the bilateral grids. luma, nodes: of a grid, along luma and along each side of the picture; rate: Adam's;
    smoothness: weight of their total variation in the loss. The defaults are gsplat's trainer's."""

    luma: int = 8
    nodes: int = 16
    rate: float = 2e-3
    smoothness: float = 10.0

    def __post_init__(self) -> None:
        expect_whole_numbers("splat.correction.bilateral", self)
        expect("splat.correction.bilateral.luma", self.luma, self.luma >= 1, "1 or more")
        expect("splat.correction.bilateral.nodes", self.nodes, self.nodes >= 1, "1 or more")
        _expect_rate("correction.bilateral.rate", self.rate)
        expect("splat.correction.bilateral.smoothness", self.smoothness, self.smoothness >= 0, "0 or more")


@dataclass(frozen=True)
class CorrectionSettings:
    """What may be done to a render before it is compared with a generated view. name: of the file in conf/correction;
    distortion, bilateral: None = without."""

    name: str = "none"
    distortion: DistortionSettings | None = None
    bilateral: BilateralSettings | None = None


@dataclass(frozen=True)
class SplatSettings:
    """How Gaussians are made from a cloud and fitted to pictures.

    Rates are Adam's at the first step; all fall, as `decay` says, to `last_rate` times that at the last one. means_rate
    counts in units of a Gaussian's distance from the middle of the cameras, log_scales_rate in natural logs,
    opacity_rate in logits.
    coarse_levels: how often views are halved at first (as Splatfacto does, twice); once less after each equal part of
    the share `coarse_until` of the steps.
    """

    steps: int = 1000
    max_gaussians: int = 150_000
    sh_degree: int = 0
    ssim_share: float = 0.2
    coarse_levels: int = 0
    coarse_until: float = 0.5
    antialiased: bool = False
    correction: CorrectionSettings = field(default_factory=CorrectionSettings)
    density: "DensitySettings | None" = None
    decay: Decay = "exponential"
    last_rate: float = 0.1
    means_rate: float = 1e-3
    quats_rate: float = 1e-2
    log_scales_rate: float = 3e-2
    opacity_rate: float = 1e-1
    colour_rate: float = 2.5e-2
    sh_rate: float = 1.25e-3
    checkpoint_every: int = 250
    evaluate_every: int = 500
    logger: LoggerName = "csv"

    def __post_init__(self) -> None:
        expect_whole_numbers("splat", self)
        wanted = "one of conf/correction"
        expect("splat.correction", self.correction, isinstance(self.correction, CorrectionSettings), wanted)
        expect("splat.steps", self.steps, self.steps >= 0, "0 or more")
        expect("splat.max_gaussians", self.max_gaussians, self.max_gaussians >= 1, "1 or more")
        expect("splat.sh_degree", self.sh_degree, self.sh_degree in (0, 1, 2, 3), "0, 1, 2 or 3")
        expect("splat.ssim_share", self.ssim_share, 0 <= self.ssim_share <= 1, "0 to 1")
        expect("splat.coarse_levels", self.coarse_levels, 0 <= self.coarse_levels <= _COARSEST, f"0 to {_COARSEST}")
        expect("splat.coarse_until", self.coarse_until, 0 < self.coarse_until <= 1, "above 0, at most 1")
        expect("splat.checkpoint_every", self.checkpoint_every, self.checkpoint_every >= 1, "1 or more")
        expect("splat.evaluate_every", self.evaluate_every, self.evaluate_every >= 1, "1 or more")
        expect("splat.decay", self.decay, self.decay in get_args(Decay), "exponential or linear")
        expect("splat.logger", self.logger, self.logger in get_args(LoggerName), "one of none, csv, wandb")
        there = self.logger != "wandb" or find_spec("wandb") is not None
        expect("splat.logger", "wandb, but its package is not installed", there, "pip install wandb")
        for name in (name for name in self.__dataclass_fields__ if name.endswith("_rate")):
            _expect_rate(name, getattr(self, name))


def rate_share(decay: Decay, last_rate: float, progress: float) -> float:
    """What is left of every rate after the share `progress` of the steps: 1 at 0, `last_rate` at 1."""
    return last_rate**progress if decay == "exponential" else 1 - (1 - last_rate) * progress


def _expect_rate(name: str, rate: float) -> None:
    expect(f"splat.{name}", rate, 0 < rate <= 1, "above 0, at most 1")
