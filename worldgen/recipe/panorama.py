"""Step 3: the photo becomes a full panorama (paper, "Panorama synthesis").

Anchored and sequential are schedules of perspective views over one loop: render what is there, inpaint the rest,
project back, blend. Ad-hoc asks for the whole equirectangular picture in one call, and so does native, of a network
that was trained to paint such pictures. The photo's own pixels are never overwritten.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worldgen.errors import expect
from worldgen.geometry.blending import edge_feather, reflect_outwards, smoothstep
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import from_perspective, mask_to_perspective, to_perspective
from worldgen.geometry.fill import blur, dilate, erode, push_pull
from worldgen.geometry.seams import degrees_to_seam
from worldgen.io.photo_sphere import GIVEN
from worldgen.models.protocols import Finish, Inpainter, Prefill, StyleMatch
from worldgen.progress import Track, untracked
from worldgen.recipe.schedules import ANCHORED, SEQUENTIAL, Schedule, ViewSpec
from worldgen.types import Camera, Panorama, Prompt, Prompts, View

SCHEDULES = {"anchored": ANCHORED, "sequential": SEQUENTIAL}
AT_ONCE = ("adhoc", "native")  # in one call
_BORDER = 3  # pixels beside a hole where the painted picture is held against the known one
_SURE = 0.99  # a pixel with at least this confidence is context, one with less is painted (again)


@dataclass(frozen=True)
class PanoramaSettings:
    """heuristic: anchored, sequential, adhoc, native, or given: the photo is the panorama, and of the others only width
    counts.
    width: of the panorama, pixels, height is half of it.
    view_size: of the square views that are inpainted, pixels. feather: part of a view over which it fades out.
    mask_blur: part of a view by which holes' borders are soft, 0 = hard (the paper blurs slightly, it does not say how
    much). anchor_gap_deg: how far round the anchor what was painted goes with it, for it may have taken its colour.
    prefill, finish: what a small inpainter needs on top of the paper's recipe, before the first view and after the last
    one; None: nothing. Ad-hoc has no use for the first, native for neither.
    style_match: brings what each view invents nearer to the photo's style; None: it stays as painted. Ad-hoc and native
    have no views, and so no use for it.
    painter: of native and of no other: the network that knows panoramas, in the inpainter's place.
    """

    heuristic: str = "anchored"
    width: int = 2048
    view_size: int = 512
    feather: float = 0.05
    mask_blur: float = 0.0
    anchor_gap_deg: float = 2.5
    prefill: Prefill | None = None
    finish: Finish | None = None
    style_match: StyleMatch | None = None
    painter: Inpainter | None = None

    def __post_init__(self) -> None:
        choices = (*SCHEDULES, *AT_ONCE, GIVEN)
        expect("panorama.heuristic", self.heuristic, self.heuristic in choices, f"auto or one of {', '.join(choices)}")
        fits = 64 <= self.width <= 16384 and self.width % 4 == 0
        expect("panorama.width", self.width, fits, "a multiple of 4 from 64 to 16384")
        expect("panorama.view_size", self.view_size, 32 <= self.view_size <= 4096, "32 to 4096")
        expect("panorama.feather", self.feather, 0 <= self.feather < 0.25, "0 or more and less than 0.25")
        expect("panorama.mask_blur", self.mask_blur, 0 <= self.mask_blur < 0.1, "0 or more and less than 0.1")
        expect("panorama.anchor_gap_deg", self.anchor_gap_deg, 0.5 <= self.anchor_gap_deg <= 30, "0.5 to 30")
        fits = (self.painter is not None) == (self.heuristic == "native")
        expect("panorama.heuristic", self.heuristic, fits, "panorama=native for a network that knows panoramas")


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
    """Fills a panorama from a photo whose camera stands at the origin and looks along +z.

    inpainter: of native, what is in `settings.painter`.
    """
    canvas = embed(photo, settings.width)
    guesses: Mapping[str, str] = {}
    if settings.heuristic in AT_ONCE:
        canvas = _paint_at_once(canvas, prompts, inpainter, seed)
    else:
        if settings.prefill is not None:
            rgb, known, guesses = settings.prefill(photo, canvas.rgb, canvas.photo, prompts.indoor, seed)
            canvas = replace(canvas, rgb=rgb, confidence=known.float())
        canvas = _paint_by_schedule(canvas, SCHEDULES[settings.heuristic], prompts, inpainter, settings, track, seed)
    rgb = canvas.rgb
    if bool((canvas.confidence < 1).any()):
        rgb = torch.where(canvas.photo, rgb, push_pull(rgb, canvas.confidence))
    if settings.finish is not None and settings.painter is None:
        rgb = settings.finish(rgb, ~canvas.photo)
    rgb = reflect_outwards(rgb, canvas.photo, settings.width / 200).clamp(0, 1)
    return Panorama(rgb, canvas.photo, guesses)


def embed(photo: View, width: int) -> Canvas:
    """The photo on an otherwise empty panorama (paper, "Embedding")."""
    rgb, inside = from_perspective(photo.rgb, photo.camera, width // 2, width, "bicubic")
    known, _ = from_perspective(photo.known[None].float(), photo.camera, width // 2, width)
    own = inside & (known[0] > 0.999)
    return Canvas(rgb * own, own.float(), own)


def add_anchor(canvas: Canvas, gap_deg: float) -> Canvas:
    """The canvas with a copy of the photo at the back (paper, the anchor) and a gap round it to be painted."""
    anchor = _anchor_place(canvas)
    gap = (degrees_to_seam(anchor) < gap_deg) & ~canvas.photo & ~anchor
    rgb = torch.where(anchor, canvas.rgb.roll(canvas.rgb.shape[2] // 2, dims=2), canvas.rgb)
    return replace(canvas, rgb=rgb, confidence=torch.where(anchor, 1.0, torch.where(gap, 0.0, canvas.confidence)))


def remove_anchor(canvas: Canvas, before: Canvas, gap_deg: float) -> Canvas:
    """The canvas without the copy, as `before` it came, nor what is near enough to it to have taken its colour."""
    anchor = _anchor_place(canvas)
    to_border = degrees_to_seam(anchor)
    restored = (anchor | (to_border < gap_deg)) & ~canvas.photo
    gap = (to_border < gap_deg / 2) & ~canvas.photo
    rgb = torch.where(restored, before.rgb, canvas.rgb)
    confidence = torch.where(restored, before.confidence, canvas.confidence)
    return replace(canvas, rgb=rgb, confidence=torch.where(gap, 0.0, confidence))


def _anchor_place(canvas: Canvas) -> Tensor:
    return canvas.photo.roll(canvas.photo.shape[1] // 2, dims=1) & ~canvas.photo


def _paint_by_schedule(
    canvas: Canvas,
    schedule: Schedule,
    prompts: Prompts,
    inpainter: Inpainter,
    settings: PanoramaSettings,
    track: Track,
    seed: int,
) -> Canvas:
    views = schedule.with_anchor + schedule.without_anchor
    before = canvas
    if schedule.with_anchor:
        canvas = add_anchor(canvas, settings.anchor_gap_deg)
    for index, view in enumerate(track(views, len(views), "painting views")):
        if index == len(schedule.with_anchor) > 0:
            canvas = remove_anchor(canvas, before, settings.anchor_gap_deg)
        canvas = paint_view(canvas, view, prompts.of(view.prompt), inpainter, settings, seed + index)
    return canvas


def paint_view(
    canvas: Canvas, view: ViewSpec, prompt: Prompt, inpainter: Inpainter, settings: PanoramaSettings, seed: int
) -> Canvas:
    """One turn of the loop: render, inpaint, project back, blend."""
    size = settings.view_size
    camera = Camera.from_fov(size, size, view.fov_deg, look_at(view.yaw_deg, view.pitch_deg))
    known = mask_to_perspective(canvas.confidence >= _SURE, camera)
    if bool(known.all()):
        return canvas
    rgb = to_perspective(canvas.rgb, camera, "bicubic").clamp(0, 1)
    kept = soften(known, settings.mask_blur * size)
    painted = inpainter(rgb[None], kept[None], [prompt], [seed])[0]
    border = known & dilate(~known, _BORDER)
    painted = painted + push_pull(rgb - painted, border)  # no step along the hole's border
    if settings.style_match is not None:
        ahead = Camera.from_fov(size, size, view.fov_deg, look_at(0, 0))  # as many pixels to a degree
        photo, own = to_perspective(canvas.rgb, ahead, "bicubic").clamp(0, 1), mask_to_perspective(canvas.photo, ahead)
        painted = settings.style_match(painted.clamp(0, 1), ~known, photo, own)
    painted = kept * rgb + (1 - kept) * painted
    return blend(canvas, painted, camera, settings.feather * size)


def soften(known: Tensor, sigma_px: float) -> Tensor:
    """bool [H, W] to [H, W]: 0 in holes, rising to 1 on their known side within three `sigma_px`."""
    hard = known.float()
    if sigma_px <= 0:
        return hard
    soft = hard * (2 * blur(hard[None], sigma_px)[0] - 1).clamp(0, 1)
    return torch.where(erode(known, math.ceil(3 * sigma_px)), 1.0, soft)


def blend(canvas: Canvas, painted: Tensor, camera: Camera, feather_px: float) -> Canvas:
    """Lays a painted view [3, h, w] under what is already there, faded out over `feather_px` towards its border."""
    height, width = canvas.photo.shape
    weight = edge_feather(camera.height, camera.width, feather_px)
    spread, inside = from_perspective(torch.cat([painted, weight[None]]), camera, height, width, "bicubic")
    # In place where it can be: at 4096 x 2048 every picture on the way is 100 MB to be asked for and given back.
    gain = (1 - canvas.confidence).mul_(spread[3].clamp_(0, 1)).mul_(inside)
    confidence = canvas.confidence + gain
    added = spread[:3].clamp_(0, 1).mul_(gain)
    mixed = (canvas.rgb * canvas.confidence).add_(added).div_(confidence.clamp(min=1e-6))
    rgb = torch.where(gain > 0, mixed, canvas.rgb)
    return replace(canvas, rgb=rgb, confidence=torch.where(confidence > _SURE, 1.0, confidence))


def _paint_at_once(canvas: Canvas, prompts: Prompts, inpainter: Inpainter, seed: int) -> Canvas:
    """Ad-hoc, native: one call for everything. Most inpainters know no panoramas: they are shown the picture some way
    round the back, and the two ends are blended."""
    around = getattr(inpainter, "around", None)
    if around is not None:
        rgb = around(canvas.rgb[None], canvas.photo[None].float(), [prompts.of("atmosphere")], [seed])[0]
        return replace(canvas, rgb=torch.where(canvas.photo, canvas.rgb, rgb), confidence=torch.ones_like(rgb[0]))
    width = canvas.photo.shape[1]
    margin = width // 16
    shown = torch.cat([canvas.rgb[..., -margin:], canvas.rgb, canvas.rgb[..., :margin]], -1)
    known = torch.cat([canvas.photo[:, -margin:], canvas.photo, canvas.photo[:, :margin]], -1)
    painted = inpainter(shown[None], known[None].float(), [prompts.of("atmosphere")], [seed])[0]
    fade = smoothstep((torch.arange(margin) + 0.5) / margin)
    rgb = painted[..., margin : margin + width].clone()
    rgb[..., :margin] = fade * rgb[..., :margin] + (1 - fade) * painted[..., margin + width :]
    # Left of the back edge the picture stays; right of it the continuation fades into the beginning.
    return replace(canvas, rgb=torch.where(canvas.photo, canvas.rgb, rgb), confidence=torch.ones_like(rgb[0]))
