"""A short film of the world: a smooth closed path inside the cube that the recipe completes, rendered and encoded."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import torch

from worldgen.errors import UserError, expect
from worldgen.geometry.cameras import look_at
from worldgen.progress import Track, untracked
from worldgen.splat.rasterize import rasterize
from worldgen.types import Camera, Gaussians


@dataclass(frozen=True)
class FlythroughSettings:
    """seconds, fps: length of the film; width, height: even pixels; fov_deg: horizontal field of view;
    radius_m: of the circle that the camera walks; it passes through the origin, so at most 1 m stays in the cube."""

    seconds: float = 8.0
    fps: int = 24
    width: int = 640
    height: int = 360
    fov_deg: float = 80.0
    radius_m: float = 0.45

    def __post_init__(self) -> None:
        even = "an even number of pixels, 16 to 4096"
        expect("export.video.seconds", self.seconds, 0 < self.seconds <= 120, "more than 0, at most 120")
        expect("export.video.fps", self.fps, 1 <= self.fps <= 120, "1 to 120")
        expect("export.video.width", self.width, 16 <= self.width <= 4096 and self.width % 2 == 0, even)
        expect("export.video.height", self.height, 16 <= self.height <= 4096 and self.height % 2 == 0, even)
        expect("export.video.fov_deg", self.fov_deg, 10 < self.fov_deg < 150, "between 10 and 150 degrees")
        expect(
            "export.video.radius_m",
            self.radius_m,
            0 <= self.radius_m <= 0.5,
            "0 to 0.5 (the completed cube ends at 1 m)",
        )


def flythrough_cameras(settings: FlythroughSettings) -> list[Camera]:
    """One camera per frame: once round a circle through the origin while turning once, slowest where the photo is.

    The film starts as the photo was taken, and every derivative of the path is continuous, across its end too, so
    that it loops.
    """
    count = max(2, round(settings.seconds * settings.fps))
    return [
        Camera.from_fov(settings.width, settings.height, settings.fov_deg, _pose(2 * math.pi * i / count, settings))
        for i in range(count)
    ]


def _pose(phase: float, settings: FlythroughSettings) -> torch.Tensor:
    """c2w at `phase` in 0..2 pi."""
    yaw_deg = math.degrees(phase - 0.35 * math.sin(phase))
    pitch_deg = -3.0 * (1 - math.cos(2 * phase))
    rise_m = 0.2 * settings.radius_m * (1 - math.cos(phase))
    x, z = settings.radius_m * math.sin(phase), settings.radius_m * (1 - math.cos(phase))
    return look_at(yaw_deg, pitch_deg, torch.tensor([x, -rise_m, z]))


def write_flythrough(gaussians: Gaussians, path: Path, settings: FlythroughSettings, track: Track = untracked) -> None:
    """Renders the film and writes it as H.264 (yuv420p, what every browser and player reads) to a new .mp4 file.

    Raises UserError where no encoder can be run.
    """
    cameras = flythrough_cameras(settings)
    frames = (_frame(gaussians, camera) for camera in track(cameras, len(cameras), "rendering the fly-through"))
    _encode(frames, path, settings)


@torch.no_grad()
def _frame(gaussians: Gaussians, camera: Camera) -> np.ndarray:
    """uint8 [H, W, 3], contiguous."""
    rgb = rasterize(gaussians, camera).rgb
    return (rgb.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()


def _encode(frames: Iterator[np.ndarray], path: Path, settings: FlythroughSettings) -> None:
    try:
        writer = imageio_ffmpeg.write_frames(
            f"file:{path}",  # or a dash in front is an option, and a colon a protocol
            (settings.width, settings.height),
            fps=settings.fps,
            codec="libx264",
            macro_block_size=2,
            ffmpeg_log_level="error",
            output_params=["-preset", "veryfast", "-crf", "20", "-movflags", "+faststart"],
        )
        writer.send(None)
    except (RuntimeError, FileNotFoundError, PermissionError) as error:
        raise UserError(f"ffmpeg: {error}, wanted the imageio-ffmpeg package's own or IMAGEIO_FFMPEG_EXE") from error
    try:
        for frame in frames:
            writer.send(frame)
    finally:
        writer.close()
