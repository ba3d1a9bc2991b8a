"""A tiny ControlNet to train, on views of a room."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tests.scenes import BoxRoom
from train.controlnet.settings import ControlNetSettings
from train.data.pairs import ConditionedData
from worldgen.geometry.cameras import look_at
from worldgen.models.diffusion import DiffusionInpainter
from worldgen.models.runtime import Runtime
from worldgen.progress import Track, untracked
from worldgen.types import Camera, View

SETTINGS: dict[str, Any] = {
    "steps": 6,
    "batch": 2,
    "rate": 1e-3,
    "warmup": 2,
    "ema": 0.5,
    "workers": 0,
    "checkpoint_every": 2,
    "validate_every": 4,
    "validation_samples": 1,
    "loss_every": 2,
    "gradient_checkpointing": False,
}
MODEL = "owner/name"


@dataclass(frozen=True)
class Room:
    """Fulfils MeasuredScene."""

    room: BoxRoom = field(default_factory=BoxRoom)
    name: str = "room"
    prompt: str = "a room"
    one_place: bool = False

    def cameras(self) -> list[Camera]:
        places = torch.tensor([[-0.5 + 0.4 * (n % 3), 0.1 * (n % 2), 0.2 * (n % 4)] for n in range(12)])
        return [Camera.from_fov(64, 64, 80, look_at(12.0 * n, 0.0, places[n])) for n in range(12)]

    def place(self, number: int) -> str:
        return f"room/{number}.png"

    def view(self, number: int, size: int) -> View:
        return self.room.view(self.cameras()[number].resized(size, size))


def data(**settings: Any) -> ConditionedData:
    """Samples of 64 pixels of a room."""
    return ConditionedData((Room(),), **({"size": 64, "max_angle_deg": 40.0} | settings))


def train(checkpoint: Path, folder: Path, track: Track = untracked, seed: int = 0, **changes: Any) -> dict[str, Any]:
    """Trains a ControlNet for a checkpoint of `tiny_diffusion` into folder/controlnet; returns its facts."""
    from train.controlnet.training import train_controlnet

    out_dir = folder / "controlnet"
    out_dir.mkdir(parents=True, exist_ok=True)
    settings = ControlNetSettings(**(SETTINGS | changes))
    inpainter = DiffusionInpainter(MODEL, path=str(checkpoint), steps=2)
    return train_controlnet(settings, data(), inpainter, {"data": "room"}, out_dir, Runtime(), track, seed)


def small(checkpoints: Mapping[str, Path], out: Path, *more: str) -> list[str]:
    """Arguments of a training of two steps."""
    return [
        "inpainter=sd15", f"inpainter.path={checkpoints['sd']}", "inpainter.steps=2", "data.size=64",
        "data.scenes.views=6", "controlnet.steps=2", "controlnet.batch=1", "controlnet.workers=0",
        "controlnet.validation_samples=0", "quiet=true", f"out={out}", *more,
    ]  # fmt: skip
