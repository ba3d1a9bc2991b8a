"""Step 9: the finished world as files that viewers, browsers and players open."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worldgen.errors import UserError, expect
from worldgen.io.clouds import write_points_ply
from worldgen.io.gaussians import write_ply, write_spz
from worldgen.present.flythrough import FlythroughSettings, write_flythrough
from worldgen.present.scene_html import scene_html
from worldgen.progress import Track, untracked
from worldgen.runs import disk
from worldgen.types import Gaussians, PointCloud

WORLD_FILES = ("world.ply", "world.spz", "world.html", "flythrough.mp4")
"""What `export` writes of the splats; the cloud goes to points.ply."""


@dataclass(frozen=True)
class ExportSettings:
    """html_splats: how many splats world.html shows at most (about 40 bytes each); video: the fly-through, None: no
    film."""

    html_splats: int = 500_000
    video: FlythroughSettings | None = field(default_factory=FlythroughSettings)

    def __post_init__(self) -> None:
        expect("export.html_splats", self.html_splats, 1 <= self.html_splats <= 5_000_000, "1 to 5000000")


def export(
    gaussians: Gaussians,
    cloud: PointCloud,
    run_dir: Path,
    out_dir: Path,
    settings: ExportSettings,
    track: Track = untracked,
) -> dict[str, Any]:
    """Writes every file to `out_dir`; `run_dir` names the world. Returns facts: how much there is."""
    write_points_ply(out_dir / "points.ply", cloud)
    for name in WORLD_FILES:
        if name.endswith(".mp4") and settings.video is None:
            continue
        write_world(gaussians, out_dir / name, settings, run_dir.resolve().name, track)
    return {"splats": len(gaussians), "points": len(cloud)}


def write_world(
    gaussians: Gaussians, path: Path, settings: ExportSettings, title: str = "world", track: Track = untracked
) -> None:
    """Writes one file, in the format that its suffix names: .ply, .spz, .html or .mp4.

    The file appears under its name only when it is whole. Raises UserError for another suffix or a missing folder.
    """
    suffix = path.suffix.lower()
    if suffix not in (".ply", ".spz", ".html", ".mp4"):
        raise UserError(f"{path}: unknown kind of file {path.suffix!r}, wanted .ply, .spz, .html or .mp4")
    if not path.parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} does not exist, wanted one that does")
    with disk.landing(path) as partial:
        if suffix == ".ply":
            write_ply(partial, gaussians)
        elif suffix == ".spz":
            write_spz(partial, gaussians)
        elif suffix == ".html":
            page = scene_html(gaussians, title, settings.html_splats)
            partial.write_text(page, encoding="utf-8", errors="backslashreplace")
        else:
            if settings.video is None:
                raise UserError(f"export.video: null, wanted settings of the film {path.name}")
            write_flythrough(gaussians, partial, settings.video, track)
