"""Distances of the open air by geometry: level ground, a far sky, upright things where they meet the ground."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from worldgen.embedded.ground import ContactCosts, contact_latitude, reach_of_contact
from worldgen.embedded.outlines import follow_outlines
from worldgen.embedded.sky import sky_mask
from worldgen.errors import expect
from worldgen.geometry.equirect import directions, sample
from worldgen.models.protocols import Composite, Lifetime, PanoramaDepth
from worldgen.progress import Track, untracked
from worldgen.types import DistanceMap, Panorama, Prompts

_RELIEF_ROWS = 256  # a small network's detail is coarser than this
_TREND = 40  # the panorama's height by the width of what counts as a trend: 4.5 degrees


@dataclass(frozen=True)
class GeometrySettings:
    """The open air's few measures, metres."""

    camera_height_m: float = 1.6  # of the camera above level ground
    farthest_m: float = 60.0  # upright things and the ground end here
    sky_m: float = 100.0  # radius of the sky's shell
    tallest_m: float = 20.0  # nothing upright reaches higher above the camera: tree crowns close overhead
    relief: float = 0.15  # how far, relatively, a network may push upright things towards or away from the camera

    def __post_init__(self) -> None:
        for name in ("camera_height_m", "farthest_m", "sky_m", "tallest_m"):
            expect(f"depth.settings.{name}", getattr(self, name), getattr(self, name) > 0, "more than 0")
        between = self.sky_m >= self.farthest_m > 2 * self.camera_height_m
        bounds = f"at most sky_m ({self.sky_m:g}) and more than twice camera_height_m ({self.camera_height_m:g})"
        expect("depth.settings.farthest_m", self.farthest_m, between, bounds)
        expect("depth.settings.relief", self.relief, 0 <= self.relief < 1, "0 or more and less than 1")


class Ground(Lifetime, Protocol):
    """Says where a panorama shows ground."""

    def __call__(self, panorama: Tensor) -> Tensor:
        """rgb [3, H, W] in [0, 1], equirectangular, level -> log odds [h, w], equirectangular."""
        ...


@dataclass(frozen=True)
class GeometricDepth(Composite):
    """Fulfils PanoramaDepth outdoors. relief: a network's estimate that adds local shape to upright things; ground:
    tells where those end. Without it colours do, which go wrong where ground and walls have the same."""

    settings: GeometrySettings = field(default_factory=GeometrySettings)
    relief: PanoramaDepth | None = None
    ground: Ground | None = None

    def parts(self) -> Sequence[Lifetime]:
        """The networks that there are."""
        return [part for part in (self.relief, self.ground) if part is not None]

    def __call__(self, panorama: Panorama, prompts: Prompts, track: Track = untracked) -> DistanceMap:
        """The panorama's horizon has to be level."""
        settings = self.settings
        sky = sky_mask(panorama.rgb)
        costs = ContactCosts(camera_height_m=settings.camera_height_m)
        odds = None if self.ground is None else self.ground(panorama.rgb)
        contact = contact_latitude(panorama.rgb, sky, costs, log_odds=odds)
        reach = reach_of_contact(contact, settings.camera_height_m, settings.farthest_m)
        level = follow_outlines(reach, panorama.rgb.numpy())
        distance, upright = stand_up(torch.from_numpy(level).float(), sky, settings)
        if self.relief is not None and settings.relief > 0:
            network = self.relief(panorama, prompts, track).distance
            distance = torch.where(upright, distance * relief_factor(network, upright, settings.relief), distance)
        return DistanceMap(distance, sky)


def stand_up(level: Tensor, sky: Tensor, settings: GeometrySettings) -> tuple[Tensor, Tensor]:
    """Level distances [H, W] of upright things to those along the ray [H, W], and where they stand (bool [H, W])."""
    down = directions(*sky.shape)[..., 1]
    wall = level / (1 - down.square()).clamp(min=1e-6).sqrt()
    wall = torch.minimum(wall, settings.tallest_m / (-down).clamp(min=1e-6)).clamp(max=settings.farthest_m)
    ground = settings.camera_height_m / down.clamp(min=1e-6)
    upright = ~sky & (ground > wall)
    distance = torch.where(sky, torch.tensor(float(settings.sky_m)), torch.minimum(ground, wall))
    return distance, upright


def relief_factor(network: Tensor, upright: Tensor, limit: float) -> Tensor:
    """A network's distances [H, W] to bounded factors [H, W]: what they add to their own large-scale trend."""
    rows = min(_RELIEF_ROWS, len(network))
    small = F.interpolate(network[None, None], (rows, 2 * rows), mode="area")[0, 0].log().numpy()
    weight = F.interpolate(upright[None, None].float(), (rows, 2 * rows), mode="area")[0, 0].numpy()

    def mean(image: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(image, rows / _TREND, mode=("nearest", "wrap"))

    excess = (small - mean(small * weight) / np.maximum(mean(weight), 1e-3)) * (weight > 0)
    bounded = torch.from_numpy(np.tanh(excess / math.log1p(limit)) * math.log1p(limit))
    return sample(bounded[None].float(), directions(*network.shape))[0].exp()
