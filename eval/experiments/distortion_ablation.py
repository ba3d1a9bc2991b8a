"""Does the trainable distortion field help where generated views disagree, and from how much disagreement on?

    python -m eval.experiments.distortion_ablation                 fits, scores, prints and draws: hours on two cores
    python -m eval.experiments.distortion_ablation --only-score    the runs that are there
    python -m eval.experiments.distortion_ablation scene=room seed=0 splat.steps=100 --runs runs/small --out small

The fits are `python -m train.splat -m experiment=distortion_ablation`; key=value changes them, finished ones are kept.
What is scored are their held-out views, which are undistorted: a table for each strength of the planted warps, with
the differences that the paper's claim is about. The folder --out gets scores.csv, evaluation.json, the tables,
distortion_ablation.md, curve.png and crops.png. The last line is one JSON object.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from eval.cli import FORMATS
from eval.experiments.ablation import Strength, as_json, as_markdown, assess
from eval.experiments.ablation_pictures import Fits, draw_crops, draw_curve
from eval.protocols.base import Collected, Protocol
from eval.protocols.image_views import HELD_OUT_DIR
from eval.protocols.outputs import Item
from eval.protocols.pictures import Picture
from eval.scoring.cache import ScoreCache
from eval.scoring.evaluate import evaluate, outputs
from eval.scoring.score import score
from eval.scoring.scores import Score
from eval.tables.formats import metadata, render
from eval.tables.statistics import common_images
from worldgen.arguments import Parser, ends_in_one_line
from worldgen.command import exit_status
from worldgen.config import compose_program, instantiate
from worldgen.errors import UserError, expect
from worldgen.models.runtime import with_runtime
from worldgen.paths import quote
from worldgen.present.console import Reporter
from worldgen.processors import usable_cores
from worldgen.runs.disk import write_text

NAME = "distortion_ablation"
CROPS_OF = ("none", "distortion", "both")
_TRUE_VIEWS = "true views"
_FEWER = "splat.max_gaussians=20000"


def sweep(runs: Path, overrides: Sequence[str]) -> None:
    """Makes all fits that are not there yet, in a process of its own. Raises UserError where one did not come out."""
    fixed = [override for override in overrides if override.startswith(("out=", "experiment="))]
    if fixed:
        raise UserError(f"{fixed[0]}: not to be set here; --runs=<folder> says where the fits go")
    command = [sys.executable, "-m", "train.splat", "-m", f"experiment={NAME}", f"out={quote(str(runs))}", *overrides]
    status = subprocess.run(command, stdout=sys.stderr, check=False).returncode
    if status:
        raise UserError(f"the fits ended with status {status}; the same command goes on, or --only-score without them")


def fits_in(protocol: Protocol, runs: Path, group_by: str) -> list[Collected]:
    """The fits in a folder, by their corrections. Raises UserError where there is nothing to compare."""
    if not any(runs.glob("*/manifest.json")):
        raise UserError(f"{runs}: no fits there, wanted some; without --only-score they are made")
    found = [protocol.collect(output) for output in outputs(protocol, {}, str(runs), group_by)]
    finished = [fits.output.method for fits in found if fits.pictures]
    if len(finished) < 2:
        holds = f"finished fits with {finished[0]} alone" if finished else "no finished fits"
        raise UserError(f"{runs}: holds {holds}, wanted some with two values of {group_by}")
    for fits in found:
        _expect_no_two_alike(fits.output.items)
    _expect_common(runs, found)
    return found


def images_by_strength(found: Sequence[Collected]) -> dict[float, set[str]]:
    """{strength: the images, which are a scene with a seed}, the weakest first. Raises UserError as `strength_of`."""
    images: dict[float, set[str]] = {}
    for item in (item for fits in found for item in fits.output.items):
        images.setdefault(strength_of(item), set()).add(item.image)
    return dict(sorted(images.items()))


def strength_of(item: Item) -> float:
    """How far a finished fit's generated views were warped, in pixels. Raises UserError where none were planted."""
    scene = item.run.config.get("scene", {}) if item.run else {}
    if "warp_px" not in scene:
        raise UserError(f"{item.path}: a fit of another scene, wanted one with scene.warp_px")
    return float(scene["warp_px"])


def assessed(config: DictConfig, protocol: Protocol, found: Sequence[Collected], out: Path) -> list[Strength]:
    """Scores all fits, and their true views by what needs no truth; by strength, the weakest first."""
    runtime = instantiate(config.runtime)
    metrics = [with_runtime(instantiate(config.metric[name]), runtime) for name in protocol.metrics]
    processes, cache, reporter = usable_cores(), ScoreCache(), Reporter()
    parts = [fits.output for fits in found]
    rows, evaluation = evaluate(protocol, parts, metrics, out, processes, cache, reporter.track)
    alone = [metric for metric in metrics if metric.needs == "nothing"]
    truths = score(_true_views(found), alone, cache, processes, reporter.track).rows
    settings = instantiate(config.table)
    return [
        assess(settings, warp_px, _of(images, rows), _of(images, truths), _restricted(evaluation, images))
        for warp_px, images in images_by_strength(found).items()
    ]


def fits_to_show(found: Sequence[Collected], warp_px: float) -> list[Fits]:
    """Of each scene at that strength, the fits with the first seed that `CROPS_OF` have in common."""
    there = {fits.output.method: fits.output.items for fits in found if fits.pictures}
    shown = [name for name in CROPS_OF if name in there]
    shown = shown if len(shown) > 1 else list(there)
    folders: dict[tuple[str, int], dict[str, Path]] = {}
    for method in shown:
        for item in there[method]:
            if item.run and strength_of(item) == warp_px:
                fit = folders.setdefault((item.run.photo_name, item.run.seed), {})
                fit[method] = item.path / "splat" / HELD_OUT_DIR
    first: dict[str, Fits] = {}
    for (scene, seed), held_out in sorted(folders.items()):
        if len(held_out) == len(shown):
            first.setdefault(scene, Fits(f"{scene}, seed {seed}", held_out))
    return list(first.values())


def write(out: Path, strengths: Sequence[Strength], shown: Sequence[Fits]) -> None:
    """Tables and pictures, beside scores.csv and evaluation.json."""
    for strength in strengths:
        for name, suffix in FORMATS.items():
            write_text(out / f"table-{strength.warp_px:g}px.{suffix}", render(strength.table, name))
        write_text(out / f"table-{strength.warp_px:g}px.json", metadata(strength.table))
    write_text(out / f"{NAME}.md", as_markdown(strengths))
    draw_curve(out / "curve.png", strengths)
    if shown:
        draw_crops(out / "crops.png", shown)


def _expect_no_two_alike(items: Sequence[Item]) -> None:
    """Raises UserError where one correction was fitted twice to one scene: then which of the two would be meant?"""
    known: dict[tuple[str, int], Item] = {}
    for item in items:
        assert item.run, "a fit is a run"
        other = known.setdefault((item.run.photo_sha256, item.run.seed), item)
        if other is not item:
            raise UserError(
                f"{item.path.parent}: {other.path.name} and {item.path.name} are two fits of one scene by one "
                "correction, wanted one; --runs names a folder for each experiment"
            )


def _expect_common(runs: Path, found: Sequence[Collected]) -> None:
    """Raises UserError where at no strength there is an image that its corrections have in common."""
    for images in images_by_strength(found).values():
        if common_images(mine for fits in found if (mine := images.intersection(fits.output.images))):
            return
    raise UserError(f"{runs}: no scene was fitted with the same seed by all corrections, wanted one at least")


def _true_views(found: Sequence[Collected]) -> list[Picture]:
    """The true pictures of all held-out views, each once, as if a method had made them."""
    pictures = [picture for fits in found for picture in fits.pictures]
    views = {(picture.image, picture.view): picture.truth for picture in pictures}
    return [Picture(_TRUE_VIEWS, image, view, truth) for (image, view), truth in views.items() if truth]


def _of(images: set[str], rows: Sequence[Score]) -> list[Score]:
    return [row for row in rows if row.image in images]


def _restricted(evaluation: Mapping[str, Any], images: set[str]) -> dict[str, Any]:
    methods = {
        method: record | {"images": [image for image in record["images"] if image in images]}
        for method, record in evaluation["methods"].items()
    }
    return {**evaluation, "methods": methods}


def _crops_px(asked: float | None, known: Sequence[float]) -> float:
    """The strength that crops are shown of: the one in the middle where none is asked for."""
    if asked is None:
        return known[len(known) // 2]
    expect("--crops-px", f"{asked:g}", asked in known, f"one of {', '.join(f'{warp_px:g}' for warp_px in known)}")
    return asked


def _config(metrics: str | None) -> DictConfig:
    overrides = [f"table={NAME}"]
    config = compose_program("eval", overrides)
    overrides.append(f"protocol={config.table.protocol}")
    if metrics is not None:
        for name in metrics.split(","):
            expect("--metrics", name, name in config.metric, f"some of {', '.join(config.metric)}")
        overrides.append(f"protocol.metrics=[{metrics}]")
    return compose_program("eval", overrides)


def _obey(arguments: argparse.Namespace) -> None:
    config = _config(arguments.metrics)
    runs = arguments.runs or Path(config.table.runs)
    out = arguments.out or Path(config.table.scores)
    if arguments.only_score and arguments.overrides:
        raise UserError(f"{arguments.overrides[0]}: changes fits, of which --only-score makes none")
    if not arguments.only_score:
        sweep(runs, arguments.overrides)
    protocol = instantiate(config.protocol)
    found = fits_in(protocol, runs, config.table.group_by)
    shown = fits_to_show(found, _crops_px(arguments.crops_px, list(images_by_strength(found))))
    strengths = assessed(config, protocol, found, out)
    write(out, strengths, shown)
    print(as_markdown(strengths))
    print(json.dumps({"experiment": NAME, "runs": str(runs), "out": str(out), "warp_px": as_json(strengths)}))


@ends_in_one_line
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = Parser(
        "python -m eval.experiments.distortion_ablation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes of the experiment, as train.splat's")
    parser.add_argument("--only-score", action="store_true", help="fit nothing: score, print and draw what is there")
    parser.add_argument("--runs", type=Path, help=f"the folder of the fits (default: runs/{NAME})")
    parser.add_argument("--out", type=Path, help=f"where scores, tables and pictures go (default: evaluations/{NAME})")
    parser.add_argument("--metrics", help="separated by commas (default: those of conf/protocol/held_out.yaml)")
    parser.add_argument("--crops-px", type=float, help="the warps' strength that crops.png shows (default: the middle)")
    return exit_status(partial(_obey, parser.parse_intermixed_args(argv)), _FEWER)


if __name__ == "__main__":
    sys.exit(main(None))
