"""Photos that might have been taken in panoramas whose sky is known: other skies, exposures, colours, sharpness."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from eval.benchmarks.indoors import ROOMS
from eval.synthetic.sky_truth import KnownSky
from worldgen.embedded.photo_sky import CELL, resized
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import to_perspective
from worldgen.types import Camera

_LONG = 320
_ASPECTS = (4 / 3, 3 / 2, 16 / 9, 1, 3 / 4, 2 / 3)
_BROKEN_SKIES = frozenset({"forest", "muir_wood"})
_CLOUDS = "sky"  # the one with clouds; it stands in for others more often


class SkyCrop(NamedTuple):
    """rgb: [3, H, W]; sky: [H, W] in 0..1; told: [H, W], 1 where that is known; of: the panoramas that it shows."""

    rgb: Tensor
    sky: Tensor
    told: Tensor
    of: frozenset[str]


def seen(panorama: KnownSky, camera: Camera) -> SkyCrop:
    """What a camera sees of a panorama."""
    rgb = to_perspective(panorama.rgb, camera, "bicubic").clamp(0, 1)
    sky, told = to_perspective(torch.stack([panorama.sky, panorama.told]), camera).clamp(0, 1)
    return SkyCrop(rgb, sky, told, frozenset({panorama.name}))


@dataclass
class Photographer:
    """Takes photos by chance. panoramas: by name; dice: what chance comes from."""

    panoramas: Mapping[str, KnownSky]
    dice: Random

    def take(self, name: str) -> SkyCrop:
        """A photo of that panorama, its sky sometimes another's, sides of multiples of CELL."""
        aspect = self.dice.choice(_ASPECTS)
        short = round(_LONG / max(aspect, 1 / aspect) / CELL) * CELL
        width, height = (_LONG, short) if aspect >= 1 else (short, _LONG)
        across_deg = self.dice.uniform(45, 100)
        if aspect < 1:
            across_deg = 2 * math.degrees(math.atan(math.tan(math.radians(across_deg / 2)) * aspect))
        camera = self._camera(width, height, across_deg, self.dice.gauss(0, 13), 2)
        crop = self._under_another_sky(seen(self.panoramas[name], camera), name)
        if self.dice.random() < 0.5:
            crop = SkyCrop(crop.rgb.flip(-1), crop.sky.flip(-1), crop.told.flip(-1), crop.of)
        if self.dice.random() < 0.45:
            crop = self._part(crop)
        return crop._replace(rgb=self._developed(crop.rgb))

    def _camera(self, width: int, height: int, fov_deg: float, pitch_deg: float, tilted_deg: float) -> Camera:
        pose = look_at(self.dice.uniform(0, 360), pitch_deg)
        angle = math.radians(self.dice.gauss(0, tilted_deg))
        roll = torch.eye(4, dtype=pose.dtype)
        roll[0, 0] = roll[1, 1] = math.cos(angle)
        roll[1, 0] = math.sin(angle)
        roll[0, 1] = -roll[1, 0]
        return Camera.from_fov(width, height, fov_deg, pose @ roll)

    def _under_another_sky(self, crop: SkyCrop, name: str) -> SkyCrop:
        """Half of the time, unless the crop is of a room: the sky of another panorama, or the one with clouds."""
        if name in ROOMS or name == _CLOUDS or self.dice.random() > 0.5:
            return crop
        others = [other for other in self.panoramas if other not in ROOMS | _BROKEN_SKIES | {name}]
        if not others:
            return crop
        other = self.dice.choice([*others, *[_CLOUDS] * 3 * (_CLOUDS in others)])
        height, width = crop.sky.shape
        camera = self._camera(width, height, self.dice.uniform(30, 100), self.dice.uniform(15, 70), 15)
        above = seen(self.panoramas[other], camera)
        if (above.sky > 0.5).float().mean() < 0.995:
            return crop
        share = F.avg_pool2d((crop.sky > 0.5).float()[None], 3, 1, 1, count_include_pad=False)[0]
        return crop._replace(rgb=crop.rgb * (1 - share) + above.rgb * share, of=crop.of | above.of)

    def _part(self, crop: SkyCrop) -> SkyCrop:
        scale = self.dice.uniform(0.3, 0.9)
        height, width = (max(64, round(n * scale / CELL) * CELL) for n in crop.sky.shape)
        top, left = self.dice.randint(0, crop.sky.shape[0] - height), self.dice.randint(0, crop.sky.shape[1] - width)
        place = (..., slice(top, top + height), slice(left, left + width))
        rgb = resized(crop.rgb[place])
        labels = torch.stack([crop.sky[place], crop.told[place]])[None]
        sky, told = F.interpolate(labels, rgb.shape[1:], mode="bilinear", align_corners=False)[0]
        return SkyCrop(rgb, sky, told, crop.of)

    def _developed(self, rgb: Tensor) -> Tensor:
        """Exposure, white balance, saturation, black and white, contrast, sharpness, noise: each at times."""
        dice = self.dice
        if dice.random() < 0.75:
            linear = rgb.clamp(min=1e-4) ** (2.2 * math.exp(dice.uniform(-0.35, 0.35)))
            rgb = (linear * math.exp(dice.uniform(-1, 0.9))).clamp(0, 1) ** (1 / 2.2)
        if dice.random() < 0.6:
            red, blue = math.exp(dice.uniform(-0.25, 0.25)), math.exp(dice.uniform(-0.25, 0.25))
            rgb = (rgb * torch.tensor([red, 1, blue])[:, None, None]).clamp(0, 1)
        grey = (0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2]).expand(3, -1, -1)
        if dice.random() < 0.5:
            rgb = (grey + (rgb - grey) * dice.uniform(0.3, 1.8)).clamp(0, 1)
        if dice.random() < 0.12:
            rgb = grey
        if dice.random() < 0.4:
            rgb = (rgb.mean() + (rgb - rgb.mean()) * dice.uniform(0.7, 1.6)).clamp(0, 1)
        if dice.random() < 0.4:
            rgb = _soft(rgb, dice.uniform(0.35, 0.9))
        elif dice.random() < 0.6:
            blurred = F.avg_pool2d(rgb, 5, 1, 2, count_include_pad=False)
            rgb = (rgb + (rgb - blurred) * dice.uniform(0.3, 2)).clamp(0, 1)
        if dice.random() < 0.6:
            noise = torch.randn(rgb.shape, generator=torch.Generator().manual_seed(dice.getrandbits(32)))
            rgb = (rgb + noise * dice.uniform(0, 0.03)).clamp(0, 1)
        return rgb


def _soft(rgb: Tensor, scale: float) -> Tensor:
    """[3, H, W] as if it had been made larger from `scale` of its size."""
    small = [round(n * scale) for n in rgb.shape[1:]]
    fewer = F.interpolate(rgb[None], small, mode="bilinear", antialias=True, align_corners=False)
    return F.interpolate(fewer, rgb.shape[1:], mode="bicubic", align_corners=False)[0].clamp(0, 1)
