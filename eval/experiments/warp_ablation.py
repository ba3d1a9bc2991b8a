"""What should a ControlNet be trained on: views under their neighbour's points, or under what survives there and back?

    python -m eval.experiments.warp_ablation                  trains, paints, scores, draws: half an hour on two cores
    python -m eval.experiments.warp_ablation --only-score     the trainings that are there
    python -m eval.experiments.warp_ablation controlnet.steps=50 seed=0 --runs runs/short --out short

The paper's strongest ablation, small (arXiv 2503.16611, point-cloud conditioning). The trainings are
`python -m train.controlnet -m experiment=warp_ablation_small`: one frozen inpainter, imperfect distances; key=value
changes them, finished ones are kept. Tested as the paper tests, on scenes of other panoramas: each view is painted from
its neighbour's points, warped with exact distances, and again with imperfect ones. The folder --out gets views.csv,
warp_ablation.md, samples.png, and each training's views of exact distances, as `python -m eval table=warping_ablation`
reads them. The last line is one JSON object.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from eval.experiments.conditioned_views import paint_and_compare
from eval.experiments.warp_results import FIRST, SECOND, as_json, as_markdown
from train.controlnet.cli import STEP
from worldgen.arguments import Parser, ends_in_one_line
from worldgen.command import exit_status
from worldgen.config import compose_program
from worldgen.errors import UserError, expect
from worldgen.paths import quote
from worldgen.runs.disk import write_text
from worldgen.runs.record import load_record

NAME = "warp_ablation"
SITUATIONS = {"exact distances": 0.0, "imperfect distances": 1.0}
"""What the tested conditions are warped with, and the strength of the error."""
_TEST_DATA = "procedural_test"
_FEWER = "controlnet.batch=4"


def sweep(runs: Path, overrides: Sequence[str]) -> None:
    """Makes all trainings that are not there yet, in a process of its own. Raises UserError where one fails."""
    fixed = [override for override in overrides if override.startswith(("out=", "experiment="))]
    if fixed:
        raise UserError(f"{fixed[0]}: not to be set here; --runs=<folder> says where the trainings go")
    what = [f"experiment={NAME}_small", f"out={quote(str(runs))}", *overrides]
    status = subprocess.run([sys.executable, "-m", "train.controlnet", "-m", *what], stdout=sys.stderr, check=False)
    if status.returncode:
        raise UserError(f"the trainings ended with status {status.returncode}; the same command goes on")


def trainings_in(runs: Path) -> list[tuple[Path, dict[str, Any]]]:
    """(folder of the ControlNet, what it was made of). Raises UserError where there are not both warps."""
    found = [(path.parent / STEP, load_record(path.parent / STEP).config) for path in runs.glob("*/manifest.json")]
    found = sorted(found, key=lambda each: str(each[0]))
    warps = {config["data"]["warp"] for _, config in found}
    expect(str(runs), f"trainings by {', '.join(sorted(warps)) or 'nothing'}", warps >= {FIRST, SECOND}, "both warps")
    inpainters = {json.dumps(config["inpainter"], sort_keys=True) for _, config in found}
    expect(str(runs), f"trainings with {len(inpainters)} inpainters", len(inpainters) == 1, "one, or another --runs")
    return found


def _obey(arguments: argparse.Namespace) -> None:
    runs = arguments.runs or Path("runs") / f"{NAME}_small"
    out = arguments.out or Path("evaluations") / NAME
    expect("--views", arguments.views, arguments.views >= 2, "2 or more")
    expect("--batch", arguments.batch, arguments.batch >= 1, "1 or more")
    if arguments.only_score and arguments.overrides:
        raise UserError(f"{arguments.overrides[0]}: changes trainings, of which --only-score makes none")
    if not arguments.only_score:
        sweep(runs, arguments.overrides)
    trainings = trainings_in(runs)
    painters = [(made_of["data"]["warp"], int(made_of["seed"]), folder) for folder, made_of in trainings]
    config = compose_program("controlnet", [f"experiment={NAME}_small", f"data={_TEST_DATA}", "data.warp=forward"])
    config.inpainter = trainings[0][1]["inpainter"]
    situations = {name: _with_error(config.data, error) for name, error in SITUATIONS.items()}
    found = paint_and_compare(out, config, painters, situations, arguments.views, arguments.batch)
    table, told = as_markdown(found), as_json(found)
    write_text(out / f"{NAME}.md", table)
    print(table)
    print(json.dumps({"experiment": NAME, "runs": str(runs), "out": str(out), "situations": told}))


def _with_error(data: DictConfig, error: float) -> DictConfig:
    changed = data.copy()
    changed.scenes.error = error
    return changed


@ends_in_one_line
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = Parser(
        f"python -m eval.experiments.{NAME}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="changes of the experiment, train.controlnet's"
    )
    parser.add_argument("--only-score", action="store_true", help="train nothing: paint and score what is there")
    parser.add_argument("--runs", type=Path, help=f"the folder of the trainings (default: runs/{NAME}_small)")
    parser.add_argument("--out", type=Path, help=f"where scores and pictures go (default: evaluations/{NAME})")
    parser.add_argument("--views", type=int, default=120, help="that each ControlNet paints (default: 120)")
    parser.add_argument("--batch", type=int, default=12, help="views painted at a time (default: 12)")
    return exit_status(partial(_obey, parser.parse_intermixed_args(argv)), _FEWER)


if __name__ == "__main__":
    sys.exit(main(None))
