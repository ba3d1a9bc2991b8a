"""Scored views as PNG files: <out>/views/<method>/<image>/<view>.png (`keep_views=true`)."""

from pathlib import Path

from torch import Tensor

from worldgen.errors import UserError
from worldgen.runs.artifacts import save_image
from worldgen.runs.disk import land

VIEWS_DIR = "views"


def view_path(folder: Path, method: str, image: str, view: str) -> Path:
    """Where a view is kept. Names that cannot be a file's are changed so that no two become the same."""
    return folder / _as_file(method) / _as_file(image) / f"{_as_file(view)}.png"


def keep_view(path: Path, rgb: Tensor) -> None:
    """Writes a picture [3, H, W] in [0, 1], whole or not at all. Raises UserError where that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}")
        save_image(temporary, rgb)
        land(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}), wanted room for a view") from error


def _as_file(name: str) -> str:
    escaped = name.replace("%", "%25").replace("/", "%2F").replace("\0", "%00")
    return f"%2E{escaped[1:]}" if escaped.startswith(".") else escaped or "%"
