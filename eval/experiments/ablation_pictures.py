"""The pictures of an ablation over strengths: each metric's curve, and crops of held-out views side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from eval.experiments.ablation import Strength
from eval.metrics import psnr
from eval.protocols.pairs import PREDICTED, TRUE
from eval.tables.statistics import Interval
from worldgen.runs.artifacts import load_image

PANEL_INCHES, DPI = (2.6, 2.3), 150
_LEGEND_INCHES = 0.4
CROP_PX, ENLARGED = 128, 2
# Colours that the colour-blind tell apart, markers, and widths that leave a line visible below a later one.
_STYLES = (("#767676", "o", 3.4), ("#0072b2", "s", 2.6), ("#e69f00", "D", 1.8), ("#009e73", "^", 1.0))
_DIFFERENCE_STYLES = (("#d55e00", "v", 2.4), ("#cc79a7", "P", 1.2))
_BETTER = {"lower": "lower is better", "higher": "higher is better"}
_GAP_PX, _TEXT_PX, _LINE_PX = 10, 17, 26


@dataclass(frozen=True)
class Fits:
    """Fits of one scene that differ in their correction. label: the scene; held_out: by correction, the folder of its
    held-out views; the first two tell where the crops are taken."""

    label: str
    held_out: Mapping[str, Path]


def draw_curve(path: Path, strengths: Sequence[Strength]) -> None:
    """A PNG over the strengths: above, each metric that has scores, a line and its interval for each method; below,
    the paired differences, which tell more than intervals that overlap because scenes differ. None without scores."""
    columns = strengths[0].table.columns
    shown = [metric for place, metric in enumerate(columns) if _lines(strengths, place)]
    if not shown:
        return
    width, height = PANEL_INCHES
    figure = Figure((width * len(shown), height * 2 + _LEGEND_INCHES), dpi=DPI, layout="constrained")
    panels = figure.subplots(2, len(shown), squeeze=False)
    for above, below, metric in zip(*panels, shown, strict=True):
        _draw_metric(above, metric, strengths)
        _draw_differences(below, metric, strengths)
        for axes in (above, below):
            axes.set_xticks([strength.warp_px for strength in strengths])
            axes.tick_params(labelsize=8)
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("warps of the generated views, px (root mean square)", fontsize=9)
    panels[1, 0].set_ylabel("paired difference", fontsize=9)
    handles = {label: h for axes in panels.flat for h, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    ncols = max(2, len(handles) * len(shown) // 5)
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=ncols, frameon=False, fontsize=9)
    figure.savefig(path, metadata={"Software": None})


def draw_crops(path: Path, fits: Sequence[Fits]) -> None:
    """A PNG: a row for each scene, of the true crop and each correction's, where the first two differ most."""
    font = ImageFont.load_default(_TEXT_PX)
    rows = [(fit, *_most_different(fit)) for fit in fits]
    side = ENLARGED * CROP_PX
    names = [TRUE, *fits[0].held_out]
    width = len(names) * (side + _GAP_PX) + _GAP_PX
    row_px = _LINE_PX + side + _LINE_PX + _GAP_PX
    sheet = Image.new("RGB", (width, len(rows) * row_px + _GAP_PX), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (fit, view, top, left) in enumerate(rows):
        y = _GAP_PX + number * row_px
        draw.text((_GAP_PX, y), f"{fit.label}, view {Path(view).stem}", "black", font)
        crops = {name: _crop(_picture(fit, name, view), top, left) for name in (TRUE, *fit.held_out)}
        for place, (name, crop) in enumerate(crops.items()):
            x = _GAP_PX + place * (side + _GAP_PX)
            sheet.paste(_enlarged(crop), (x, y + _LINE_PX))
            label = name if name == TRUE else f"{name}, {psnr(crop, crops[TRUE]):.2f} dB"
            draw.text((x, y + _LINE_PX + side + 2), label, "black", font)
    sheet.save(path)


def _draw_metric(axes: Axes, metric: str, strengths: Sequence[Strength]) -> None:
    table = strengths[0].table
    column = table.columns[metric]
    lines = _lines(strengths, list(table.columns).index(metric))
    for (label, found), style in zip(lines.items(), cycle(_STYLES)):
        _draw_line(axes, found, label, *style)
    true = {strength.warp_px: strength.truth[metric].mean for strength in strengths if metric in strength.truth}
    if true:
        axes.plot(list(true), list(true.values()), "k--", lw=1.2, marker="_", label="the true views")
    axes.set_title(f"{column.label} ({_BETTER[column.better]})", fontsize=9.5)


def _draw_differences(axes: Axes, metric: str, strengths: Sequence[Strength]) -> None:
    axes.axhline(0, color="black", lw=0.8)
    pairs = dict.fromkeys(pair for strength in strengths for pair in strength.differences)
    for pair, style in zip(pairs, cycle(_DIFFERENCE_STYLES)):
        found = {s.warp_px: s.differences[pair][metric] for s in strengths if metric in s.differences.get(pair, {})}
        _draw_line(axes, {at: difference.interval for at, difference in found.items()}, " minus ".join(pair), *style)


def _draw_line(axes: Axes, found: Mapping[float, Interval], label: str, colour: str, marker: str, width: float) -> None:
    """Means over strengths, and a band from low to high where those are known."""
    at, intervals = list(found), list(found.values())
    means = [interval.mean for interval in intervals]
    axes.plot(at, means, color=colour, marker=marker, markersize=3 + width, linewidth=width, label=label)
    low, high = ([getattr(interval, side) for interval in intervals] for side in ("low", "high"))
    axes.fill_between(at, low, high, color=colour, alpha=0.14, linewidth=0)


def _lines(strengths: Sequence[Strength], place: int) -> dict[str, dict[float, Interval]]:
    """{method's label: {strength: one metric's mean}}, as far as there are scores."""
    found: dict[str, dict[float, Interval]] = {}
    for strength in strengths:
        for row in strength.table.rows:
            if (ours := row.cells[place].ours) is not None:
                found.setdefault(row.label, {})[strength.warp_px] = ours
    return found


def _most_different(fit: Fits) -> tuple[str, int, int]:
    """Which view, and the top left pixel in it of the crop over which the first two corrections differ most."""
    first, second = list(fit.held_out)[:2]
    best = (-1.0, "", 0, 0)
    for view in sorted(path.name for path in (fit.held_out[first] / PREDICTED).glob("*.png")):
        apart = (_picture(fit, first, view) - _picture(fit, second, view)).abs().mean(dim=0, keepdim=True)
        height, width = (min(CROP_PX, side) for side in apart.shape[1:])
        means = F.avg_pool2d(F.avg_pool2d(apart, (height, 1), 1), (1, width), 1)[0]
        place = int(means.argmax())
        best = max(best, (float(means.flatten()[place]), view, *divmod(place, means.shape[1])))
    return best[1:]


def _picture(fit: Fits, name: str, view: str) -> Tensor:
    """[3, H, W]: what a correction's fit shows of a view, or the truth."""
    if name == TRUE:
        return load_image(next(iter(fit.held_out.values())) / TRUE / view)
    return load_image(fit.held_out[name] / PREDICTED / view)


def _crop(rgb: Tensor, top: int, left: int) -> Tensor:
    return rgb[:, top : top + CROP_PX, left : left + CROP_PX]


def _enlarged(rgb: Tensor) -> Image.Image:
    pixels = (rgb.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    image = Image.fromarray(pixels)
    return image.resize((ENLARGED * image.width, ENLARGED * image.height), Image.Resampling.NEAREST)
