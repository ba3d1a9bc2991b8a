"""The paper's table of point-cloud conditioning: trained ControlNets paint views from their neighbours' points.

    python -m eval.experiments.conditioning methods.forward=runs/f_warp/controlnet \\
        methods.forward_backward=runs/fb_warp/controlnet data=posed data.scenes.folders=<folder> inpainter=sdxl

data and inpainter are what `python -m train.controlnet` takes: posed pictures with depth, and the networks that the
ControlNets were trained for. View B is painted from A's points, by the inpainter alone, too, and by the inpainters
--beside it. Printed are the paper's table (BRISQUE, NIQE, Q-Align, PSNR) and PSNR by the places' distance and by part
of the view. --out gets views.csv, samples.png, each method's views and the tables. The last line is one JSON object.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from eval import cli
from eval.experiments.conditioned_views import paint_and_compare
from eval.experiments.warp_results import as_json, as_markdown
from worldgen.arguments import Parser, ends_in_one_line
from worldgen.command import exit_status
from worldgen.config import choice, compose_program
from worldgen.errors import UserError, expect
from worldgen.paths import quote, user_path
from worldgen.runs.disk import write_text

NAME = "conditioning"
_FEWER = "--batch 1"


def _obey(arguments: argparse.Namespace) -> None:
    methods, overrides = cli.take_methods(arguments.overrides)
    expect("methods", "none", bool(methods), "methods.<name>=<the folder of a ControlNet>, one or more")
    expect("--views", arguments.views, arguments.views >= 2, "2 or more")
    expect("--batch", arguments.batch, arguments.batch >= 1, "1 or more")
    if given := [each for each in overrides if each.startswith("data.warp=")]:
        raise UserError(f"{given[0]}: not to be set here: views are painted from other views' points")
    for name in arguments.beside:
        choice("inpainter", name)  # says that there is no such choice, before anything is painted
        expect("--beside", name, name not in methods, "an inpainter that no method is called like")
    config = compose_program("controlnet", [*overrides, "data.warp=forward"])
    out = arguments.out or Path("evaluations") / NAME
    painters = [(name, 0, user_path(path)) for name, path in methods.items()]
    found = paint_and_compare(
        out, config, painters, {"views": config.data}, arguments.views, arguments.batch, arguments.beside
    )
    scored = [f"methods.{name}={out / f'{name}-0'}" for name in methods]
    status = cli.main([f"table={NAME}", f"out={quote(str(out))}", *scored])
    if status:
        raise UserError(f"{out}: painted, but not scored (above)")
    table, told = as_markdown(found), as_json(found)
    write_text(out / "by_baseline.md", table)
    print(table)
    print(json.dumps({"experiment": NAME, "out": str(out), "situations": told}))


@ends_in_one_line
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = Parser(
        f"python -m eval.experiments.{NAME}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="methods.<name>=<folder>, data=, inpainter=")
    parser.add_argument("--out", type=Path, help=f"where views and tables go (default: evaluations/{NAME})")
    parser.add_argument("--beside", nargs="+", default=[], metavar="INPAINTER", help="others that paint, e.g. migan")
    parser.add_argument("--views", type=int, default=100, help="that each ControlNet paints (default: 100)")
    parser.add_argument("--batch", type=int, default=4, help="views painted at a time (default: 4)")
    return exit_status(partial(_obey, parser.parse_intermixed_args(argv)), _FEWER)


if __name__ == "__main__":
    sys.exit(main(None))
