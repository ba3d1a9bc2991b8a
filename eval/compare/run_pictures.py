"""A small picture of each run, for pages that set many runs side by side: made once, and kept in the user's cache."""

import base64
import hashlib
import io
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from PIL import Image

from eval.compare.compared import ComparedRun
from worldgen.errors import UserError
from worldgen.paths import cache_dir
from worldgen.processors import usable_cores

SIZE = 192, 96  # pixels at most
_PLACES = {
    "world": ("preview.jpg", "panorama.png", "refine/panorama.png", "panorama/panorama.png"),
    "fit": ("splat/held_out/pred/000.png",),
    "controlnet": ("controlnet/samples/*.png",),
}
_THREADS = 8  # PIL lets others run while it decodes


def picture_of(run: ComparedRun) -> Path | None:
    """What the run looks like, as far as it came: its panorama, a view of a fit, a ControlNet's last samples."""
    if run.folder is None:
        return None
    for place in _PLACES[run.kind]:
        with suppress(OSError):  # of a run that is being written
            found = sorted(run.folder.glob(place))
            if found and found[-1].is_file():
                return found[-1]
    return None


def data_uris(runs: Sequence[ComparedRun]) -> dict[ComparedRun, str]:
    """A JPEG of `SIZE` of each run that has a picture which can be read, as pages carry it themselves."""
    with ThreadPoolExecutor(min(_THREADS, usable_cores())) as pool:
        made = zip(runs, pool.map(_small, map(picture_of, runs)), strict=True)
        return {run: f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" for run, jpeg in made if jpeg}


def _small(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        found = path.stat()
        told = f"{path.resolve()} {found.st_size} {found.st_mtime_ns} {SIZE}"
        kept = _kept_at(told)
        with suppress(OSError):
            return kept.read_bytes()
        jpeg = _reduced(path)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # whatever PIL makes of half a file
        return None
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        fresh = kept.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(jpeg)
        fresh.replace(kept)
    return jpeg


def _kept_at(told: str) -> Path:
    try:
        folder = cache_dir()
    except UserError:  # no home is known
        folder = Path(tempfile.gettempdir()) / f"worldgen-{os.getuid()}"
    return folder / "run_pictures" / f"{hashlib.sha256(os.fsencode(told)).hexdigest()}.jpg"


def _reduced(path: Path) -> bytes:
    with Image.open(path) as image:
        factor = max(1, min(image.width // SIZE[0], image.height // SIZE[1]) // 2)
        small = image.reduce(factor).convert("RGB") if image.mode in ("RGB", "L") else image.convert("RGB")
    small.thumbnail(SIZE)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=82)
    return buffer.getvalue()
