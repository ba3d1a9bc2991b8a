"""world_vr.html: the world in one file, to walk in with a headset (WebXR) or a browser, offline.

The splats are a .sog of those that add most to what can be seen from within the cube; the PlayCanvas engine draws them.
"""

import base64
import gzip
import html
import io
import json
import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from worldgen.errors import expect
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import directions
from worldgen.io.sog import SogPrecision, read_sog, write_sog
from worldgen.models import assets
from worldgen.present.scene_html import colours
from worldgen.splat.contribution import picture_loss_db, thinned
from worldgen.splat.harmonics import SH_C0
from worldgen.types import Camera, DistanceMap, Gaussians, View

ENGINE = "playcanvas"
_HERE = Path(__file__).parent
_PHOTO_PX = 1024  # the longer side, in the page
_EYE_HEIGHT_M = 1.6  # where the ground below says nothing
_EYE_HEIGHTS_M = (1.0, 2.2)  # of somebody who stands or sits on it
_WITHIN = 0.6  # of the cube: where splats are chosen from
_VIEW_PX = 512  # of the pictures by which splats are chosen, and their loss is measured
_VIEW_FOV_DEG = 90.0
_PRECISION = SogPrecision(position_bits=14, rotation_bits=6, opacity_bits=6, codes=64)  # 9.2 bytes a splat; 49 dB
_FACES = ((0, 0), (90, 0), (180, 0), (270, 0), (0, 90), (0, -90))  # (yaw_deg, pitch_deg)


@dataclass(frozen=True)
class HeadsetSettings:
    """splats: how many the page shows at most; cube_side_m: of the cube round the photo's place that one stays in;
    loss_views: pictures from within it, by which the page is compared with the whole world."""

    splats: int = 500_000
    cube_side_m: float = 2.0
    loss_views: int = 12

    def __post_init__(self) -> None:
        expect("export.headset.splats", self.splats, 1 <= self.splats <= 5_000_000, "1 to 5000000")
        expect("export.headset.cube_side_m", self.cube_side_m, 0 < self.cube_side_m <= 100, "more than 0, at most 100")
        expect("export.headset.loss_views", self.loss_views, 1 <= self.loss_views <= 1000, "1 to 1000")


def write_headset_page(
    path: Path, gaussians: Gaussians, photo: View, distances: DistanceMap, settings: HeadsetSettings, title: str
) -> dict[str, Any]:
    """Writes the page, and returns facts: how many splats it shows, and what is lost by that. Where the engine is not
    in the cache nothing is written, and the one fact says so."""
    engine = assets.here(ENGINE)
    if engine is None:
        return {"world_vr": f"not made: no {assets.ASSETS[ENGINE].filename}; python -m worldgen.fetch {ENGINE}"}
    splats, packed = _headset_splats(gaussians, settings, path.with_suffix(".sog"))
    eye_height_m, guessed = eye_height(distances)
    facts = {
        "cube_side_m": settings.cube_side_m,
        "eye_height_m": round(eye_height_m, 3),
        "fov_deg": photo.camera.fov_deg,
        "photo_aspect": photo.camera.width / photo.camera.height,
        "antialiased": gaussians.antialiased,
    }
    page = headset_page(packed, photo.rgb, facts, engine.read_bytes(), title)
    path.write_text(page, encoding="utf-8", errors="backslashreplace")
    loss_db = picture_loss_db(gaussians, splats, loss_cameras(settings))
    return {
        "headset_splats": len(splats),
        "headset_mb": round(path.stat().st_size / 1e6, 1),
        "headset_psnr_db": round(sum(loss_db) / len(loss_db), 1),
        "headset_worst_view_db": round(min(loss_db), 1),
        "eye_height_m": f"{eye_height_m:.2f} (guessed)" if guessed else round(eye_height_m, 2),
    }


def headset_page(sog: bytes, photo: Tensor, facts: dict[str, Any], engine: bytes, title: str) -> str:
    """The page. sog: the splats; photo: [3, H, W]; facts: what headset.js asks for; engine: PlayCanvas as a script."""
    parts = {
        "TITLE": html.escape(title),
        "STYLE": (_HERE / "headset.css").read_text(encoding="utf-8"),
        "SCRIPT": (_HERE / "headset.js").read_text(encoding="utf-8"),
        "FACTS": json.dumps(facts).replace("<", "\\u003c"),
        "PHOTO": base64.b64encode(_jpeg(photo)).decode(),
        "ENGINE": base64.b64encode(gzip.compress(engine, 9, mtime=0)).decode(),
        "SPLATS": base64.b64encode(sog).decode(),
    }
    page = (_HERE / "headset.html").read_text(encoding="utf-8")
    return re.sub("@([A-Z]+)@", lambda found: parts[found[1]], page)


def eye_height(distances: DistanceMap) -> tuple[float, bool]:
    """How far below the photo's place the ground lies, metres, and whether that is only guessed: where nobody stands
    so high, or nothing is known below."""
    height, width = distances.distance.shape
    down = directions(height, width, distances.distance.device)[..., 1]
    below = (down > 0.8) & ~distances.sky
    found = (distances.distance * down)[below].median().item() if below.any() else 0.0
    low, high = _EYE_HEIGHTS_M
    return (found, False) if low <= found <= high else (_EYE_HEIGHT_M, True)


def choosing_cameras(settings: HeadsetSettings) -> list[Camera]:
    """All round, from the middle of the cube, and from the corners and face centres of a smaller one within it."""
    around = [torch.tensor(place) for place in product((-1.0, 0.0, 1.0), repeat=3) if sum(map(abs, place)) in (1, 3)]
    places = [torch.zeros(3), *(place * _WITHIN * settings.cube_side_m / 2 for place in around)]
    return [_camera(yaw, pitch, place) for place in places for yaw, pitch in _FACES]


def loss_cameras(settings: HeadsetSettings) -> list[Camera]:
    """Seeded places all over the cube and directions all round, none of those by which splats are chosen."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(settings.loss_views, 5, generator=generator)
    places = (drawn[:, :3] - 0.5) * settings.cube_side_m
    yaws, pitches = 360 * drawn[:, 3], torch.rad2deg(torch.asin(2 * drawn[:, 4] - 1))
    return [_camera(yaw.item(), pitch.item(), place) for yaw, pitch, place in zip(yaws, pitches, places, strict=True)]


def _camera(yaw_deg: float, pitch_deg: float, place: Tensor) -> Camera:
    return Camera.from_fov(_VIEW_PX, _VIEW_PX, _VIEW_FOV_DEG, look_at(yaw_deg, pitch_deg, place))


def _headset_splats(gaussians: Gaussians, settings: HeadsetSettings, beside: Path) -> tuple[Gaussians, bytes]:
    """Those that the page shows, as its file holds them, and that file, which lies at `beside` meanwhile."""
    kept = thinned(gaussians, settings.splats, choosing_cameras(settings))
    flat = ((colours(kept) - 0.5) / SH_C0)[:, None]
    one_colour = Gaussians(
        kept.means, kept.quats, kept.log_scales, kept.opacity_logits, flat, antialiased=kept.antialiased
    )
    try:
        write_sog(beside, one_colour, _PRECISION)
        return read_sog(beside), beside.read_bytes()
    finally:
        beside.unlink(missing_ok=True)


def _jpeg(rgb: Tensor) -> bytes:
    pixels = (rgb.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    image = Image.fromarray(pixels)
    image.thumbnail((_PHOTO_PX, _PHOTO_PX))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=85)
    return content.getvalue()
