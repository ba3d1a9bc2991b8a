"""Do the failure signatures rise where a fault was planted, and only there? `python -m eval.benchmarks.signatures`

Measures a run folder without fault, as reports do (`worldgen/signatures/of_run.py`), and a copy of it for each fault.
The clean figures are what reports name as those of a world without fault. The last line is one JSON object.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from eval.synthetic.planted_faults import FAULTS, planted, write_clean_run
from worldgen import program
from worldgen.arguments import Parser
from worldgen.signatures.of_run import measure


def main(arguments: Sequence[str]) -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=768, help="of the panorama, pixels (default: %(default)s)")
    parser.add_argument("--size", type=int, default=384, help="of a completed view (default: %(default)s)")
    options = parser.parse_args(arguments)
    with TemporaryDirectory() as scratch:
        run = write_clean_run(Path(scratch, "clean"), options.height, options.size)
        clean = measure(run).figures
        print(f"{'':16} {'clean':>8} {'planted':>8}")
        found = {}
        for fault in FAULTS:
            found[fault] = measure(planted(run, Path(scratch, fault), fault)).figures[fault]
            print(f"{fault:16} {clean[fault]:8.2f} {found[fault]:8.2f}")
        began = time.perf_counter()
        measure(run)
        seconds = time.perf_counter() - began
    rounded = {
        name: {key: round(value, 3) for key, value in figures.items()}
        for name, figures in (("clean", clean), ("planted", found))
    }
    print(json.dumps({**rounded, "seconds_of_a_measurement": round(seconds, 2)}))
    return 0


if __name__ == "__main__":
    program.run("eval.benchmarks.signatures")
