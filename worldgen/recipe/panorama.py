"""Step 3: the photo becomes a full panorama (paper, "Panorama synthesis").

Anchored and sequential are schedules of perspective views over one loop: render what is there, inpaint the rest,
project back, blend. Ad-hoc asks for the whole equirectangular picture in one call. The photo's own pixels are never
overwritten.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worldgen.errors import UserError
from worldgen.geometry.blending import edge_feather, smoothstep
from worldgen.geometry.cameras import look
from worldgen.geometry.equirect import from_perspective, mask_to_perspective, to_perspective
from worldgen.geometry.fill import dilate, push_pull
from worldgen.models.protocols import Inpainter
from worldgen.progress import Track, untracked
from worldgen.recipe.schedules import ANCHORED, SEQUENTIAL, Look, Schedule
from worldgen.types import Camera, Panorama, Prompts, View

SCHEDULES = {"anchored": ANCHORED, "sequential": SEQUENTIAL}
_SURE = 0.99  # a pixel with at least this confidence is context, one with less is painted (again)


@dataclass(frozen=True)
class PanoramaSettings:
    """heuristic: anchored, sequential or adhoc. width: of the panorama, pixels, height is half of it.
    view_size: of the square views that are inpainted, pixels. feather: part of a view over which it fades out.
    """

    heuristic: str = "anchored"
    width: int = 2048
    view_size: int = 512
    feather: float = 0.05

    def __post_init__(self) -> None:
        choices = (*SCHEDULES, "adhoc")
        if self.heuristic not in choices:
            raise UserError(f"panorama.heuristic: {self.heuristic!r}, wanted one of {', '.join(choices)}")
        if self.width < 64 or self.width > 16384 or self.width % 4:
            raise UserError(f"panorama.width: {self.width}, wanted a multiple of 4 from 64 to 16384")
        if not 32 <= self.view_size <= 4096:
            raise UserError(f"panorama.view_size: {self.view_size}, wanted 32 to 4096")
        if not 0 <= self.feather < 0.25:
            raise UserError(f"panorama.feather: {self.feather}, wanted 0 or more and less than 0.25")


@dataclass(frozen=True, eq=False)
class Canvas:
    """A panorama in the making.

    rgb: [3, H, W]; confidence: [H, W], 0 = nothing there, 1 = settled, between: near the border of a view, to be
    blended with what comes next; photo: bool [H, W], the photo's own pixels, confidence 1 for good.
    """

    rgb: Tensor
    confidence: Tensor
    photo: Tensor


def synthesize(
    photo: View,
    prompts: Prompts,
    inpainter: Inpainter,
    settings: PanoramaSettings,
    track: Track = untracked,
    seed: int = 0,
) -> Panorama:
    """Fills a panorama from a photo whose camera stands at the origin and looks along +z."""
    canvas = embed(photo, settings.width)
    if settings.heuristic == "adhoc":
        canvas = _paint_at_once(canvas, prompts, inpainter, seed)
    else:
        canvas = _paint_by_schedule(canvas, SCHEDULES[settings.heuristic], prompts, inpainter, settings, track, seed)
    rgb = torch.where(canvas.photo, canvas.rgb, push_pull(canvas.rgb, canvas.confidence))
    return Panorama(rgb.clamp(0, 1), canvas.photo)


def embed(photo: View, width: int) -> Canvas:
    """The photo on an otherwise empty panorama (paper, "Embedding")."""
    rgb, inside = from_perspective(photo.rgb, photo.camera, width // 2, width, "bicubic")
    known, _ = from_perspective(photo.known[None].float(), photo.camera, width // 2, width)
    own = inside & (known[0] > 0.999)
    return Canvas(rgb * own, own.float(), own)


def add_anchor(canvas: Canvas) -> tuple[Canvas, Tensor]:
    """The canvas with a copy of the photo at the back, where nothing else is; and where that copy lies, bool [H, W]."""
    half_turn = canvas.photo.shape[1] // 2
    anchor = canvas.photo.roll(half_turn, dims=1) & (canvas.confidence == 0)
    rgb = torch.where(anchor, canvas.rgb.roll(half_turn, dims=2), canvas.rgb)
    return replace(canvas, rgb=rgb, confidence=torch.where(anchor, 1.0, canvas.confidence)), anchor


def remove_anchor(canvas: Canvas, anchor: Tensor) -> Canvas:
    """The canvas without the copy, nor what is near enough to it to have taken its colour."""
    margin = max(2, canvas.rgb.shape[-1] // 256)
    gone = dilate(anchor, margin) & ~canvas.photo
    return replace(canvas, rgb=canvas.rgb * ~gone, confidence=canvas.confidence * ~gone)


def _paint_by_schedule(
    canvas: Canvas,
    schedule: Schedule,
    prompts: Prompts,
    inpainter: Inpainter,
    settings: PanoramaSettings,
    track: Track,
    seed: int,
) -> Canvas:
    looks = schedule.with_anchor + schedule.without_anchor
    anchor = None
    if schedule.with_anchor:
        canvas, anchor = add_anchor(canvas)
    for index, view in enumerate(track(looks, len(looks), "painting views")):
        if anchor is not None and index == len(schedule.with_anchor):
            canvas = remove_anchor(canvas, anchor)
        canvas = paint_view(canvas, view, getattr(prompts, view.prompt), inpainter, settings, seed + index)
    return canvas


def paint_view(
    canvas: Canvas, view: Look, prompt: str, inpainter: Inpainter, settings: PanoramaSettings, seed: int
) -> Canvas:
    """One turn of the loop: render, inpaint, project back, blend."""
    size = settings.view_size
    camera = Camera.from_fov(size, size, view.fov_deg, look(view.yaw_deg, view.pitch_deg))
    known = mask_to_perspective(canvas.confidence >= _SURE, camera)
    if bool(known.all()):
        return canvas
    rgb = to_perspective(canvas.rgb, camera, "bicubic").clamp(0, 1)
    painted = inpainter(rgb, known, prompt, seed)
    return blend(canvas, painted, camera, settings.feather * size)


def blend(canvas: Canvas, painted: Tensor, camera: Camera, feather_px: float) -> Canvas:
    """Lays a painted view under what is already there, faded out towards the view's border."""
    height, width = canvas.photo.shape
    weight = edge_feather(camera.height, camera.width, feather_px)
    spread, inside = from_perspective(torch.cat([painted, weight[None]]), camera, height, width, "bicubic")
    gain = (1 - canvas.confidence) * spread[3].clamp(0, 1) * inside
    confidence = canvas.confidence + gain
    mixed = (canvas.rgb * canvas.confidence + spread[:3].clamp(0, 1) * gain) / confidence.clamp(min=1e-6)
    rgb = torch.where(gain > 0, mixed, canvas.rgb)
    return replace(canvas, rgb=rgb, confidence=torch.where(confidence > _SURE, 1.0, confidence))


def _paint_at_once(canvas: Canvas, prompts: Prompts, inpainter: Inpainter, seed: int) -> Canvas:
    """Ad-hoc: one call for everything; the picture is shown some way round the back, and the two ends are blended."""
    width = canvas.photo.shape[1]
    margin = width // 16
    shown = torch.cat([canvas.rgb[..., -margin:], canvas.rgb, canvas.rgb[..., :margin]], -1)
    known = torch.cat([canvas.photo[:, -margin:], canvas.photo, canvas.photo[:, :margin]], -1)
    painted = inpainter(shown, known, prompts.atmosphere, seed)
    fade = smoothstep((torch.arange(margin) + 0.5) / margin)
    rgb = painted[..., margin : margin + width].clone()
    rgb[..., :margin] = fade * rgb[..., :margin] + (1 - fade) * painted[..., margin + width :]
    # Left of the back edge the picture stays; right of it the continuation fades into the beginning.
    return replace(canvas, rgb=torch.where(canvas.photo, canvas.rgb, rgb), confidence=torch.ones_like(rgb[0]))
