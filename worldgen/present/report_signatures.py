"""The report's section on what went wrong with a world: the failure signatures in words, and pictures of where.

What a world without fault has comes from `python -m eval.benchmarks.signatures`; what real panoramas have at a photo's
border, from `python -m eval protocol=panorama_flat` on the 24 true ones of `python -m eval.data panoramas`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import torch

from worldgen.present.report_pictures import data_uri
from worldgen.signatures.of_run import RunSignatures, Seen

_MOST_COMPLETED = 4
_GAP_PX = 8


@dataclass(frozen=True)
class _Sign:
    """title: for a person; unit: behind a figure; clean: what a world without fault has; says: what a figure means."""

    title: str
    unit: str
    clean: str
    says: str


_BREAK = "How far it jumps there, in standard errors of such jumps within the photo."
_SIGNS = {
    "style_colour": _Sign("Colour at the photo's border", "", "1.5; 9 of 10 below 3.2", _BREAK),
    "style_contrast": _Sign("Contrast at the photo's border", "", "0.9; 9 of 10 below 2.3", _BREAK),
    "style_texture": _Sign("Texture at the photo's border", "", "1.0; 9 of 10 below 2.1", _BREAK),
    "floaters": _Sign(
        "Floaters", " %", "0.0", "How much of the views' colour comes from in front of the cloud's surface (red)."
    ),
    "haze": _Sign(
        "Haze",
        "",
        "0.6",
        "How far the depths that make up a pixel lie apart (green); 35: half of it comes from twice as far.",
    ),
    "ghosts": _Sign("Ghosts", " %", "0.3", "How much a view changes under a step of 2 cm, the parallax undone (blue)."),
    "hallucinations": _Sign(
        "Known things repainted",
        " / 255",
        "2.7",
        "How far completed views leave the colours of the points that they were to complete (red).",
    ),
    "unsupported": _Sign(
        "Painted, and shown by no other view",
        " %",
        "26",
        "Of the painted parts: what nobody else sees, or everybody else sees otherwise (green and blue).",
    ),
    "contradicted": _Sign(
        "Painted, and contradicted",
        " %",
        "0.1",
        "Of the painted parts: what other views see, and all of them otherwise (blue). That they agree does not make "
        "it true: each was painted with the earlier ones in sight.",
    ),
}
_INTRO = (
    "Signs of failure, measured on the world itself, from half a metre beside the place of the photo; less is better. "
    "They tell where things do not fit together, not whether what was invented is likely."
)
_CLEAN = "Without fault: at the photo's border 24 photographed panoramas, median; else a made-up room of true surfaces."
_SPLATS = "Views of the world, and what is wrong there: red floats, green is haze, blue ghosts."
_COMPLETED = (
    "Completed views: red leaves what was known, green was painted where no other view looks, blue is contradicted."
)


def section(found: RunSignatures) -> str:
    """HTML: a row for each signature that was measured, why others were not, and views beside what is wrong in them."""
    rows = "".join(_row(_SIGNS[name], found.figures[name]) for name in _SIGNS if name in found.figures)
    head = '<tr><th>Sign</th><th class="n">here</th><th>without fault</th></tr>'
    table = f'<table class="signs">{head}{rows}</table>\n<p class="soft">{escape(_CLEAN)}</p>\n' if rows else ""
    return (
        '<section id="distrust">\n<h2>What to distrust in this world</h2>\n'
        f'<p class="soft">{escape(_INTRO)}</p>\n{table}{_missing(found.missing)}'
        f"{_pairs(found.views, _SPLATS)}"
        f"{_pairs(found.completed[:_MOST_COMPLETED], _COMPLETED)}</section>"
    )


def _row(sign: _Sign, figure: float) -> str:
    return (
        f"<tr><td>{escape(sign.title)}<br><small>{escape(sign.says)}</small></td>"
        f'<td class="n"><b>{figure:.2f}{sign.unit}</b></td><td>{escape(sign.clean)}{sign.unit}</td></tr>'
    )


def _missing(reasons: dict[str, str]) -> str:
    """Each reason once, with all that it kept from being measured."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        by_reason.setdefault(reason, []).append(_SIGNS[name].title)
    said = "".join(f"<li>{escape(', '.join(titles))}: {escape(reason)}.</li>" for reason, titles in by_reason.items())
    return f"<p>Not measured:</p>\n<ul>{said}</ul>\n" if said else ""


def _pairs(views: Sequence[Seen], note: str) -> str:
    """Each view beside its picture of faults, whose square roots are shown, so that small ones are seen."""
    if not views:
        return ""
    figures = "".join(
        f'<figure><img src="{data_uri(_beside(seen))}" alt="A view, and what is wrong in it"></figure>'
        for seen in views
    )
    return f'<p class="soft">{escape(note)}</p><div class="pictures">{figures}</div>\n'


def _beside(seen: Seen) -> np.ndarray:
    """uint8 [h, 2w + gap, 3]."""
    gap = torch.ones(3, seen.plain.shape[1], _GAP_PX)
    both = torch.cat([seen.plain, gap, seen.wrong.clamp(0, 1).sqrt()], dim=2)
    return (both * 255).round().byte().permute(1, 2, 0).numpy()
