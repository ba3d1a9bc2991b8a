"""report.html: what each step did, its picture, time and memory, on one page that carries everything it shows.

Made from a run folder alone, so it can be made again at any time.
"""

import base64
import csv
import json
import math
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from worldgen.present import report_pictures as pictures
from worldgen.present import report_signatures
from worldgen.runs import disk
from worldgen.runs.reader import RunReader
from worldgen.runs.steps_table import COMPLETE, DEPTH, EXPORT, FOV, LIFT, PANORAMA, PROMPTS, REFINE, SPLAT
from worldgen.signatures.of_run import RunSignatures, measure

_VIDEO_EMBEDDED_MB = 8.0
_STEPS = {
    FOV: ("Field of view", "How wide an angle the photo covers; everything metric rests on it."),
    PROMPTS: ("Prompts", "What the inpainter is told about the place, the sky or ceiling, the ground or floor."),
    PANORAMA: ("Panorama", "The photo, embedded in a full turn; what it does not show is inpainted view by view."),
    REFINE: ("Refinement", "A text-to-image model adds detail to the panorama."),
    DEPTH: ("Distances", "How far away everything is: bright is near, dark is far, sky is grey."),
    LIFT: ("Point cloud", "Every pixel of the panorama becomes a point in space."),
    COMPLETE: ("Completion", "Views from a cube round the camera; what the photo's place hides is inpainted."),
    SPLAT: ("Gaussian splats", "The cloud becomes Gaussians, fitted to the panorama and the completed views."),
    EXPORT: ("Files", "The world in the formats that viewers, browsers and players open."),
}
_FILES = {
    "world.html": "walk through it in a browser, offline",
    "world_vr.html": "the same with a headset, or in a browser by WebGL2",
    "flythrough.mp4": "a film of it",
    "world.ply": "the splats, for any 3DGS viewer",
    "world.spz": "the splats, compressed",
    "world.sog": "the splats, compressed further, for PlayCanvas and SuperSplat",
    "points.ply": "the point cloud",
    "collision.glb": "a coarse mesh of what the panorama shows, to collide with",
}
_UNITS = {"m": "m", "mb": "MB", "s": "s", "deg": "°", "db": "dB", "px": "px", "percent": "%"}


def write_report(run_dir: Path) -> Path:
    """Writes `run_dir`/report.html, and the failure signatures that it tells of as signatures.json, and a small
    panorama as preview.jpg, from the folder's manifest and artifacts; returns the report's path.

    Steps that have not run yet are left out. Raises UserError where there is no manifest.
    """
    manifest = RunReader(run_dir).manifest()
    report, found = run_dir / "report.html", measure(run_dir)
    told = {"figures": found.figures, "not_measured": found.missing}
    disk.write_text(run_dir / "signatures.json", json.dumps(told, indent=1, sort_keys=True) + "\n")
    pictures.write_preview(run_dir)
    disk.write_text(report, report_html(manifest, run_dir, found))
    return report


def report_html(manifest: Mapping[str, Any], run_dir: Path, found: RunSignatures) -> str:
    """The page. manifest: as in manifest.json; run_dir: where the artifacts lie; found: what is wrong with them."""
    name = run_dir.resolve().name
    steps = _in_order(manifest.get("steps", {}))
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    edited = manifest.get("edited_by_hand", {})
    parts = [_head(name, manifest.get("photo", {}).get("name") or "one photo", steps, run_dir)]
    for number, (step, entry) in enumerate(steps.items(), start=1):
        parts.append(_step(number, step, entry, edited.get(step, []), run_dir))
    if PANORAMA in steps:  # before that nothing can be wrong
        parts.append(report_signatures.section(found))
    parts += [_costs(steps), _fine_print(manifest, steps)]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(name)} · worldgen</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _in_order(steps: Mapping[str, Mapping]) -> dict[str, Mapping]:
    """The recipe's order, whatever order they ran in."""
    return {name: steps[name] for name in _STEPS if name in steps} | dict(steps)


def _head(name: str, photo: str, steps: Mapping[str, Mapping], run_dir: Path) -> str:
    seconds = sum(entry["seconds"] for entry in steps.values())
    memory_mb = max((entry["peak_memory_mb"] for entry in steps.values()), default=0)
    return (
        f"<h1>{escape(name)}</h1>\n"
        f'<p class="soft">A world from {escape(photo)}, made by worldgen in {_duration(seconds)},'
        f" with at most {_memory(memory_mb)} of memory.</p>\n"
        f"{_video(run_dir)}{_files(run_dir)}{_hint(run_dir)}"
    )


def _hint(run_dir: Path) -> str:
    """How to walk in the world, where there is one already."""
    if not (run_dir / EXPORT / "world.html").exists():
        return ""
    return "<p>Open <code>world.html</code> in a browser, or run <code>python -m worldgen.view .</code> here.</p>"


def _video(run_dir: Path) -> str:
    """The fly-through: in the page where it is small, else beside it."""
    path = run_dir / EXPORT / "flythrough.mp4"
    if not path.exists():
        return ""
    source = "export/flythrough.mp4"
    if path.stat().st_size <= _VIDEO_EMBEDDED_MB * 1e6:
        source = "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<figure><video src="{source}" controls autoplay loop muted playsinline></video></figure>\n'


def _files(run_dir: Path) -> str:
    sizes = {name: (run_dir / EXPORT / name).stat().st_size for name in _FILES if (run_dir / EXPORT / name).exists()}
    entries = [
        f'<li><a href="export/{name}"><b>{name}</b> <small>{_size(size)}<br>{_FILES[name]}</small></a></li>'
        for name, size in sizes.items()
    ]
    return f'<ul class="files">{"".join(entries)}</ul>\n' if entries else ""


def _step(number: int, name: str, entry: Mapping, edited: list[str], run_dir: Path) -> str:
    title, what = _STEPS.get(name, (name, ""))
    cost = f"{_duration(entry['seconds'])} · {_memory(entry['peak_memory_mb'])}"
    facts = entry["facts"] | ({"edited_by_hand": ", ".join(edited)} if edited else {})
    if entry.get("attempts", 1) > 1:
        facts["attempts"] = entry["attempts"]
    if entry.get("peak_gpu_memory_mb"):
        facts["peak_gpu_memory_mb"] = entry["peak_gpu_memory_mb"]
    return (
        f'<section id="{escape(name)}">\n<div class="head"><span class="number">{number}</span>'
        f'<h2>{escape(title)}</h2><span class="cost">{cost}</span></div>\n<p class="soft">{escape(what)}</p>\n'
        f"{_facts(facts)}{_pictures(name, run_dir)}</section>"
    )


def _pictures(name: str, run_dir: Path) -> str:
    """What a step's artifacts look like; nothing where there is nothing to see."""
    if name == FOV:
        caption = "The photo, seen again through its camera in the panorama."
        if pictures.is_given(run_dir):
            caption = "The panorama straight ahead: the photo shows all round."
        return _figure(pictures.photo(run_dir), caption, "narrow")
    if name == PANORAMA:
        given = pictures.is_given(run_dir)
        caption = "All of it is the photo." if given else "The photo lies within the white line."
        return _figure(pictures.outlined_panorama(run_dir), caption)
    if name == REFINE:
        return _figure(pictures.reduced(run_dir / REFINE / "panorama.png"), "The refined panorama.")
    if name == DEPTH:
        return _figure(pictures.reduced(run_dir / DEPTH / "distance.png"), "Distance along every ray.")
    if name == LIFT:
        return _plan_figure(run_dir)
    if name == COMPLETE:
        note = "Before and after, the views that missed most; grey is what was missing."
        return _grid([_figure(pair, "") for pair in pictures.completed(run_dir)], note)
    if name == SPLAT:
        captions = ("The splats from where the photo was taken.", "From a step aside.")
        views = [_figure(view, caption) for view, caption in zip(pictures.splat_views(run_dir), captions, strict=False)]
        return _grid(views + _curves(run_dir / SPLAT / "metrics.csv"))
    return ""


def _figure(pixels: np.ndarray | None, caption: str, css: str = "") -> str:
    if pixels is None:
        return ""
    words = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    height, width = pixels.shape[:2]
    image = f'<img src="{pictures.data_uri(pixels)}" width="{width}" height="{height}" alt="{escape(caption)}">'
    return f'<figure class="{css}">{image}{words}</figure>\n'


def _plan_figure(run_dir: Path) -> str:
    found = pictures.plan(run_dir)
    if found is None:
        return ""
    pixels, radius_m = found
    caption = f"From above, {2 * radius_m:.0f} m across; the photo looks up the page from the red dot."
    return _figure(pixels, caption, "narrow")


def _grid(figures: list[str], note: str = "") -> str:
    """Figures beside each other where the page is wide enough."""
    if not figures:
        return ""
    words = f'<p class="soft">{escape(note)}</p>' if note else ""
    return f'{words}<div class="pictures">{"".join(figures)}</div>\n'


def _curves(path: Path) -> list[str]:
    """One small chart for each column of the optimiser's metrics.csv that has at least two values."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = [name for name in (rows[0] if rows else {}) if name not in ("step", "epoch")]
    return [chart for name in columns if (chart := _chart(name, _series(rows, name)))]


def _series(rows: list[dict[str, str]], column: str) -> list[tuple[float, float]]:
    """(step, value) wherever both are finite numbers."""
    points = []
    for row in rows:
        try:
            point = float(row.get("step") or ""), float(row.get(column) or "")
        except ValueError:
            continue
        if all(map(math.isfinite, point)):
            points.append(point)
    return points


def _chart(name: str, points: list[tuple[float, float]]) -> str:
    if len(points) < 2:
        return ""
    (first, last), values = (points[0][0], points[-1][0]), [value for _, value in points]
    low, high = min(values), max(values)
    across, up = (last - first) or 1, (high - low) or 1
    path = " ".join(f"{(x - first) / across * 300:.1f},{110 - (y - low) / up * 100:.1f}" for x, y in points)
    label, span = escape(name.replace("_", " ")), f"{first:.0f} to {last:.0f}"
    return (
        f'<figure><svg viewBox="0 0 300 120" role="img" aria-label="{label}"><line x1="0" y1="115" x2="300" y2="115"/>'
        f'<polyline points="{path}"/></svg>'
        f"<figcaption>{label}: {_number(values[0])} to {_number(values[-1])} over steps {span}</figcaption></figure>"
    )


def _costs(steps: Mapping[str, Mapping]) -> str:
    """Time and memory of all steps beside each other."""
    longest = max((entry["seconds"] for entry in steps.values()), default=0) or 1
    rows = "".join(_cost_row(name, entry, longest) for name, entry in steps.items())
    return f"<section>\n<h2>Time and memory</h2>\n<table>{rows}</table>\n</section>" if rows else ""


def _cost_row(name: str, entry: Mapping, longest: float) -> str:
    seconds, memory_mb = entry["seconds"], entry["peak_memory_mb"]
    return (
        f'<tr><td><a href="#{escape(name)}">{escape(_STEPS.get(name, (name,))[0])}</a></td>'
        f'<td class="bar"><i style="width:{100 * seconds / longest:.1f}%"></i></td>'
        f'<td class="n">{_duration(seconds)}</td><td class="n">{_memory(memory_mb)}</td></tr>'
    )


def _fine_print(manifest: Mapping, steps: Mapping[str, Mapping]) -> str:
    """Everything that decides the result, to the letter."""
    blocks = {
        "Config of every step": {name: entry["config"] for name, entry in steps.items()},
        "Versions": _merged(steps, "versions"),
        "Pretrained files, by sha256": _merged(steps, "assets"),
        "Photo": manifest.get("photo", {}),
    }
    details = "".join(_details(title, block) for title, block in blocks.items() if block)
    return f"<section>\n<h2>How it was made</h2>\n{details}</section>" if details else ""


def _merged(steps: Mapping[str, Mapping], key: str) -> dict[str, str]:
    """What the steps say under `key`; where they disagree, everything that was said."""
    said: dict[str, list[str]] = {}
    for entry in steps.values():
        for name, value in entry.get(key, {}).items():
            said.setdefault(name, [])
            said[name] += [value] if value not in said[name] else []
    return {name: ", ".join(values) for name, values in sorted(said.items())}


def _details(title: str, block: Any) -> str:
    text = escape(json.dumps(block, indent=2, ensure_ascii=False))
    return f"<details><summary>{title}</summary><pre>{text}</pre></details>\n"


def _facts(facts: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<dt>{escape(_label(key))}</dt><dd>{escape(_value(key, value))}</dd>" for key, value in facts.items()
    )
    return f"<dl>{rows}</dl>\n" if rows else ""


def _label(key: str) -> str:
    """`median_distance_m` -> `median distance`."""
    words = ["angle"] if key == "deg" else key.split("_")
    return " ".join(words[:-1] if len(words) > 1 and words[-1] in _UNITS else words)


def _value(key: str, value: Any) -> str:
    """A fact's value with the unit that its key ends in."""
    unit = _UNITS.get(key.split("_")[-1], "") if not isinstance(value, str) else ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{_number(value)} {unit}".strip().replace(" °", "°")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else f"{value:.4g}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _memory(megabytes: float) -> str:
    return f"{megabytes / 1000:.1f} GB"


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
