"""From Python: `generate` makes a world from a photo, `World` looks at one. The command line runs the same code."""

import html
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from worldgen import view
from worldgen.errors import UserError
from worldgen.geometry.cameras import look_at
from worldgen.geometry.fov_range import check_fov
from worldgen.recipe.export import ExportSettings, write_world
from worldgen.runs.reader import RunReader
from worldgen.splat.rasterize import rasterize
from worldgen.types import Camera, DistanceMap, Gaussians, Panorama, PointCloud


class World:
    """A finished run folder. What it holds is read when it is first asked for."""

    def __init__(self, run_dir: str | Path) -> None:
        """Raises UserError where the folder is not one that the recipe finished."""
        self.run_dir = Path(run_dir)
        self._reader = RunReader(self.run_dir)
        if not self._reader.manifest_path.is_file():
            raise UserError(
                f"{self.run_dir}: no manifest.json in it, wanted a run folder as `python -m worldgen` makes it"
            )
        self._reader.gaussians_path()

    @classmethod
    def open(cls, path: str | Path) -> "World":
        """The world in a run folder, for example `World.open("runs/example")`."""
        return cls(path)

    def __repr__(self) -> str:
        photo = self._reader.manifest()["photo"]
        parts = [f"from {photo['name']}"] if photo.get("name") else []
        return f"<World {', '.join([str(self.run_dir), *parts, f'{len(self.gaussians):,} splats'])}>"

    @cached_property
    def gaussians(self) -> Gaussians:
        """The splats, world frame, metres."""
        return self._reader.gaussians()

    @cached_property
    def cloud(self) -> PointCloud:
        """The points that the panorama shows, and those that completion added."""
        return self._reader.cloud()

    @cached_property
    def panorama(self) -> Panorama:
        """The panorama, refined if it was."""
        return self._reader.panorama()

    @cached_property
    def distance(self) -> DistanceMap:
        """Distances along the rays of the panorama, metres."""
        return self._reader.distances()

    def camera(
        self,
        yaw_deg: float = 0.0,
        pitch_deg: float = 0.0,
        position: Sequence[float] = (0.0, 0.0, 0.0),
        fov_deg: float = 75.0,
        size: tuple[int, int] = (640, 480),
    ) -> Camera:
        """A camera to render with. yaw_deg > 0 turns right, pitch_deg > 0 up; position: x right, y down, z forward in
        metres from where the photo was taken; fov_deg: horizontal; size: width and height in pixels. Raises UserError
        for what no camera has."""
        if len(position) != 3:
            raise UserError(f"position: {position!r}, wanted x, y and z in metres")
        if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
            raise UserError(f"size: {size!r}, wanted width and height in whole pixels")
        check_fov(fov_deg)
        pose = look_at(yaw_deg, pitch_deg, torch.tensor(position, dtype=torch.float32))
        return Camera.from_fov(*size, fov_deg, pose)

    @torch.no_grad()
    def render(self, camera: Camera) -> Tensor:
        """What `camera` sees, [3, H, W] in [0, 1]."""
        return rasterize(self.gaussians, camera).rgb.clamp(0, 1)

    def show(self, height: int = 480) -> None:
        """Opens the world: within the notebook where there is one (`height` pixels), else in the browser.

        The notebook's output then holds the whole page, some megabytes. Outside of notebooks this serves the page until
        it is interrupted.
        """
        page = self._reader.page_path()
        if not _in_notebook():
            view.serve(self.run_dir)
            return
        from IPython.display import HTML, display

        source = html.escape(page.read_text(encoding="utf-8"), quote=True)
        style = f"width:100%;height:{height}px;border:0"
        # In an element of its own, or IPython advises against the only way that needs no server.
        display(HTML(f'<div><iframe srcdoc="{source}" style="{style}"></iframe></div>'))

    def export(self, path: str | Path) -> Path:
        """Writes the world to a file; its suffix decides: .ply, .spz, .sog, .html or .mp4. Raises UserError for others,
        and where it cannot be written."""
        path = Path(path)
        try:
            write_world(self.gaussians, path, ExportSettings(), self.run_dir.resolve().name)
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error
        return path


def generate(
    image: str | Path, overrides: Sequence[str] = (), out: str | Path | None = None, quiet: bool = False
) -> World:
    """Makes the world of a photo, or finishes one that was begun, as `python -m worldgen image=...` does.

    overrides: as on the command line, for example `["panorama=sequential", "splat.steps=200"]`; out: the run folder
    (default: runs/<the photo's name>). Raises UserError on bad input.
    """
    if isinstance(overrides, str):
        raise UserError(f"overrides: {overrides!r}, wanted a list, for example ['panorama=sequential']")
    from worldgen.config import compose
    from worldgen.pipeline import run
    from worldgen.present.console import Reporter

    config = compose(image, overrides, out)
    return World(run(config, Reporter(quiet=quiet)).root)


def _in_notebook() -> bool:
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return hasattr(get_ipython(), "kernel")  # an IPython terminal has none
