"""Many worlds on one page: a picture of each, what was set otherwise than in the others, figures, and ways in."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from worldgen.errors import UserError
from worldgen.present import report_pictures as pictures
from worldgen.runs import artifacts
from worldgen.runs.differing import differing_keys
from worldgen.runs.reader import RunReader
from worldgen.runs.steps_table import EXPORT

_THUMBNAIL_PX = 480
_PAGES = {"export/world.html": "walk", "export/world_vr.html": "headset", "report.html": "report"}
_STYLE = """
.worlds { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1.25rem;
  margin-top: 1.5rem; }
.world { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; overflow: hidden; }
.world > div { padding: .6rem .9rem .9rem; }
.world h2 { font-size: 1.05rem; overflow-wrap: anywhere; }
.world dl { font-size: .875rem; }
.world img, .world .none { border-radius: 0; aspect-ratio: 2; width: 100%; background: var(--line); }
main { max-width: 90rem; }
"""


@dataclass(frozen=True)
class ShownWorld:
    """One run on the page. settings: by dotted key; figures: by name; seconds: that its steps took."""

    folder: Path
    photo: str
    settings: Mapping[str, Any]
    seconds: float
    figures: Mapping[str, float] = field(default_factory=dict)


def shown_world(folder: Path) -> ShownWorld:
    """What a run folder says of itself, finished or not. Raises UserError where it is none."""
    manifest = RunReader(folder).manifest()
    settings: dict[str, Any] = {}
    for name, step in manifest["steps"].items():
        if name != EXPORT:  # whose settings make no other world
            settings |= dict(_flat(step.get("config", {})))
    figures = {}
    if (folder / "signatures.json").is_file():
        figures = artifacts.load_json(folder / "signatures.json").get("figures", {})
    seconds = sum(step.get("seconds", 0.0) for step in manifest["steps"].values())
    return ShownWorld(folder, manifest["photo"].get("name") or "one photo", settings, seconds, figures)


def gallery_html(worlds: Sequence[ShownWorld], beside: Path, left_out: int = 0) -> str:
    """The page, to lie in the folder `beside`, which its links start from. left_out: folders that were no runs."""
    keys = differing_keys(world.settings for world in worlds)
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8") + _STYLE
    names = "" if keys else " Nothing is set otherwise in one than in another."
    told = f"{len(worlds)} worlds.{names}" + (f" Left out, being no runs: {left_out}." if left_out else "")
    cards = "\n".join(_card(world, keys, beside) for world in worlds)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Worlds</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n<h1>Worlds</h1>\n"
        f'<p class="soft">{told}</p>\n<div class="worlds">\n{cards}\n</div>\n</main>\n</body>\n</html>\n'
    )


def _card(world: ShownWorld, keys: Sequence[str], beside: Path) -> str:
    links = {
        words: Path(os.path.relpath(world.folder.resolve() / page, beside.resolve())).as_posix()
        for page, words in _PAGES.items()
        if (world.folder / page).is_file()
    }
    first = next(iter(links.values()), "")
    picture = _thumbnail(world.folder)
    image = f'<img src="{picture}" alt="panorama" loading="lazy">' if picture else '<div class="none"></div>'
    entered = f'<a href="{escape(first)}">{image}</a>' if first else image
    ways = " · ".join(f'<a href="{escape(link)}">{words}</a>' for words, link in links.items())
    told = {key: _plain(world.settings.get(key, "not set")) for key in keys}
    told |= {name: f"{value:.4g}" for name, value in world.figures.items()}
    rows = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in told.items())
    return (
        f'<article class="world">{entered}<div><h2>{escape(world.folder.resolve().name)}</h2>'
        f'<p class="soft">{escape(world.photo)} · {world.seconds:.0f} s</p><p>{ways or "not finished"}</p>'
        f"<dl>{rows}</dl></div></article>"
    )


def _thumbnail(folder: Path) -> str:
    """The panorama; nothing where there is none yet."""
    try:
        pixels = pictures.reduced(RunReader(folder).panorama_path(), _THUMBNAIL_PX)
    except (UserError, OSError):
        return ""
    return "" if pixels is None else pictures.data_uri(pixels)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _flat(node: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Leaves by dotted key, as they are set on the command line; what code they name is called by its last word."""
    if not isinstance(node, dict):
        return [(prefix, node)]
    found = []
    for key, child in node.items():
        place = f"{prefix}.{key}".lstrip(".")
        if key == "_target_" and isinstance(child, str):
            found.append((prefix, child.rpartition(".")[2]))
        else:
            found += _flat(child, place)
    return found
