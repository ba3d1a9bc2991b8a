"""Whether a report.html still tells what its run folder holds, so that it need not be made again."""

import hashlib
import os
from pathlib import Path

_CODE = ("report.py", "report_pictures.py", "report.css")


def stamp(run_dir: Path) -> str:
    """Hex digest of what the report is made from: the manifest, which names every file's hash, the scores, the folder's
    name, and the report's own code."""
    digest = hashlib.sha256(os.fsencode(run_dir.resolve().name))
    paths = [run_dir / "manifest.json", run_dir / "scores.json", *(Path(__file__).with_name(name) for name in _CODE)]
    for path in paths:
        content = path.read_bytes() if path.is_file() else b""
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def tag(run_dir: Path) -> str:
    """What marks a report in its head."""
    return f'<meta name="worldgen-made-from" content="{stamp(run_dir)}">'


def is_current(run_dir: Path) -> bool:
    """Whether the folder's report.html was made from what lies there now. A file that was changed by hand does not show
    in the manifest: who finds one writes the report again in any case."""
    report = run_dir / "report.html"
    return report.is_file() and tag(run_dir) in report.read_text(encoding="utf-8", errors="replace")
