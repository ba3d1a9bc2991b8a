"""Step 9: the finished world as files that viewers, browsers and players open."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worldgen.errors import UserError, expect
from worldgen.geometry.panorama_mesh import panorama_mesh
from worldgen.io.clouds import write_points_ply
from worldgen.io.gaussians import write_ply, write_spz
from worldgen.io.meshes import write_glb
from worldgen.io.sog import write_sog
from worldgen.present.flythrough import FlythroughSettings, write_flythrough
from worldgen.present.headset import HeadsetSettings, write_headset_page
from worldgen.present.scene_html import scene_html
from worldgen.progress import Track, untracked
from worldgen.runs import disk
from worldgen.types import DistanceMap, Gaussians, PointCloud, View

WORLD_FILES = ("world.ply", "world.spz", "world.sog", "world.html", "flythrough.mp4")
"""What `export` writes of the splats; the cloud goes to points.ply, what headsets show to world_vr.html."""
HEADSET_PAGE = "world_vr.html"
COLLISION_MESH = "collision.glb"
_SUFFIXES = (".ply", ".spz", ".sog", ".html", ".mp4")
_KINDS = f"{', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}"


@dataclass(frozen=True)
class ExportSettings:
    """html_splats: how many splats world.html shows at most (about 40 bytes each); headset: of world_vr.html, None: no
    such page; video: the fly-through, None: no film."""

    html_splats: int = 500_000
    headset: HeadsetSettings | None = field(default_factory=HeadsetSettings)
    video: FlythroughSettings | None = field(default_factory=FlythroughSettings)

    def __post_init__(self) -> None:
        expect("export.html_splats", self.html_splats, 1 <= self.html_splats <= 5_000_000, "1 to 5000000")


def export(
    gaussians: Gaussians,
    cloud: PointCloud,
    photo: View,
    distances: DistanceMap,
    run_dir: Path,
    out_dir: Path,
    settings: ExportSettings,
    track: Track = untracked,
) -> dict[str, Any]:
    """Writes every file to `out_dir`; `run_dir` names the world. photo: where one starts; distances: of the panorama.
    Returns facts: how much there is."""
    title = run_dir.resolve().name
    write_points_ply(out_dir / "points.ply", cloud)
    for name in WORLD_FILES:
        if name.endswith(".mp4") and settings.video is None:
            continue
        write_world(gaussians, out_dir / name, settings, title, track)
    vertices, triangles = panorama_mesh(distances)
    facts: dict[str, Any] = {"splats": len(gaussians), "points": len(cloud), "collision_triangles": len(triangles)}
    if len(triangles):
        with disk.landing(out_dir / COLLISION_MESH) as partial:
            write_glb(partial, vertices, triangles)
    if settings.headset is not None:
        page = out_dir / HEADSET_PAGE
        facts |= write_headset_page(page, gaussians, photo, distances, settings.headset, title)
    return facts


def write_world(
    gaussians: Gaussians, path: Path, settings: ExportSettings, title: str = "world", track: Track = untracked
) -> None:
    """Writes one file, in the format that its suffix names: .ply, .spz, .sog, .html or .mp4.

    The file appears under its name only when it is whole. Raises UserError for another suffix or a missing folder.
    """
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise UserError(f"{path}: unknown kind of file {path.suffix!r}, wanted {_KINDS}")
    if not path.parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} does not exist, wanted one that does")
    with disk.landing(path) as partial:
        if suffix == ".ply":
            write_ply(partial, gaussians)
        elif suffix == ".spz":
            write_spz(partial, gaussians)
        elif suffix == ".sog":
            write_sog(partial, gaussians)
        elif suffix == ".html":
            page = scene_html(gaussians, title, settings.html_splats)
            partial.write_text(page, encoding="utf-8", errors="backslashreplace")
        else:
            if settings.video is None:
                raise UserError(f"export.video: null, wanted settings of the film {path.name}")
            write_flythrough(gaussians, partial, settings.video, track)
