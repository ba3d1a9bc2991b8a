"""How long does it take to set many runs side by side, against plain reading of the same files?

    python -m eval.benchmarks.compare                       200 runs, with an evaluation, as text and as a page
    python -m eval.benchmarks.compare --runs 50 --no-previews

The runs are made up: manifests as long as real ones, logs, a panorama each, and scores of every view. Ours are whole
commands in processes of their own, imports and all; the page is made twice, as its small pictures are kept. The
reference reads and parses manifests, logs and scores, and nothing else. Seconds of processors tell on busy machines
what the clock would say on others. The last line is one JSON object.
"""

import argparse
import csv
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from eval.scoring.scores import Score, write_scores
from worldgen import program
from worldgen.arguments import Parser
from worldgen.runs.layout import LAYOUT
from worldgen.runs.steps_table import STEPS

WANTED_S = 10.0
HEURISTICS, VIEWS = ("anchored", "sequential", "adhoc"), 6
_EFFECT = {"anchored": 0.0, "sequential": 0.4, "adhoc": 1.5}  # on NIQE
_FILES = 12  # of a step, of each of which a manifest has a hash


def make_sweep(folder: Path, count: int, width: int = 2048, previews: bool = True) -> Path:
    """So many run folders in `folder`, of some photos by three heuristics and two seeds, and `folder`/scores; every
    tenth stopped. width: of their panoramas, pixels; previews: with the small pictures that reports bring."""
    generator = random.Random(0)
    rows: list[Score] = []
    images: dict[str, list[str]] = {name: [] for name in HEURISTICS}
    pictures = [_panorama(width, number) for number in range(4)]
    for number in range(count):
        heuristic, seed = HEURISTICS[number % 3], number // 3 % 2
        photo = f"photo{number // 6:02}"
        niqe = 5 + number // 6 % 5 / 2 + _EFFECT[heuristic] + generator.gauss(0, 0.3)
        run = folder / f"{photo}-panorama={heuristic}-seed={seed}"
        _write_run(run, photo, heuristic, seed, niqe, stopped=number % 10 == 9)
        picture = run / "panorama" / "panorama.png"
        picture.parent.mkdir()
        picture.write_bytes(pictures[number % 4])
        if previews:
            Image.open(picture).resize((384, 192)).save(run / "preview.jpg")
        image = f"{photo}-seed{seed}"
        images[heuristic].append(image)
        rows += [
            Score(heuristic, image, f"view{view}", metric, factor * niqe + view / 10)
            for view in range(VIEWS)
            for metric, factor in (("niqe", 1.0), ("brisque", 6.0))
        ]
    kept = {"path": str(folder), "kind": "runs", "failed": {}}
    methods = {name: kept | {"images": images[name]} for name in HEURISTICS}
    metrics = {name: {"better": "lower", "versions": {}} for name in ("niqe", "brisque")}
    write_scores(folder / "scores", rows, {"protocol": {"name": "panorama"}, "metrics": metrics, "methods": methods})
    return folder


def _write_run(run: Path, photo: str, heuristic: str, seed: int, niqe: float, stopped: bool) -> None:
    names = [step.name for step in STEPS][: 7 if stopped else None]
    facts = {
        "lift": {"points": 1_300_000},
        "splat": {"gaussians": 140_000, "panorama_psnr_db": round(50 - niqe, 2), "loss_last": 0.006},
    }
    settings = {"panorama": {"heuristic": heuristic, "width": 2048}}
    stamp = {"sha256": "0" * 64, "size": 1_000_000, "mtime_ns": 1_800_000_000_000_000_000}
    steps = {
        name: {
            "name": name,
            "config": {name: settings.get(name, {}) | {f"key{n}": n for n in range(12)}, "seed": seed},
            "facts": facts.get(name, {}),
            "versions": {"python": "3.11.7", "worldgen": "0.1.0", "torch": "2.13.0"},
            "assets": {"migan": "0" * 64},
            "files": {f"{name}{number}.png": stamp for number in range(_FILES)},
            "seconds": 10.0 + seed,
            "peak_memory_mb": 1500.0,
        }
        for name in names
    }
    manifest = {"layout": LAYOUT, "photo": {"name": f"{photo}.jpg", "sha256": photo.ljust(64, "0")}, "steps": steps}
    run.mkdir(parents=True)
    (run / "manifest.json").write_text(json.dumps(manifest, indent=1))
    lines = [line for n, name in enumerate(names, 1) for line in (f"{n}/9 {name}: begins", f"  {n}/9 {name}  done")]
    lines += ["8/9 splat: begins"] * stopped
    (run / "log.txt").write_text("".join(f"2026-11-24 10:00:00,123 INFO worldgen: {line}\n" for line in lines))


def _panorama(width: int, number: int) -> bytes:
    """A smooth picture with the noise of a photo, as PNG."""
    generator = np.random.default_rng(number)
    coarse = Image.fromarray(generator.integers(0, 255, (8, 16, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, width // 2), Image.Resampling.BICUBIC), dtype=np.int16)
    noisy = np.clip(smooth + generator.integers(-3, 4, smooth.shape), 0, 255).astype(np.uint8)
    with tempfile.TemporaryFile() as file:
        Image.fromarray(noisy).save(file, "PNG", compress_level=3)
        file.seek(0)
        return file.read()


def plain_reading(folder: Path) -> tuple[float, float]:
    """Seconds for parsing every manifest and log, and the scores: on the clock, and of this process."""
    began, used = time.perf_counter(), time.process_time()
    for run in folder.glob("*/manifest.json"):
        json.loads(run.read_text())
        (run.parent / "log.txt").read_text().splitlines()
    with (folder / "scores" / "scores.csv").open(newline="") as file:
        list(csv.reader(file))
    return time.perf_counter() - began, time.process_time() - used


def command_s(arguments: Sequence[str], cache: Path) -> tuple[float, float]:
    """Seconds of a whole command, its imports and all: on the clock, and of processors."""
    began, used = time.perf_counter(), _children_cpu_s()
    environment = os.environ | {"WORLDGEN_CACHE": str(cache)}
    subprocess.run([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began, _children_cpu_s() - used


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = Parser(prog="python -m eval.benchmarks.compare", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--runs", type=int, default=200, help="how many (default: 200)")
    parser.add_argument("--no-previews", action="store_true", help="as runs were that had none beside their reports")
    parser.add_argument("--width", type=int, default=2048, help="of the panoramas, pixels (default: 2048)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        sweep, cache = (
            make_sweep(place / "sweep", options.runs, options.width, not options.no_previews),
            place / "cache",
        )
        compare = ["-m", "eval.compare", str(sweep), "by=panorama", "baseline=anchored", "sort=niqe"]
        seconds = {
            "plain reading": plain_reading(sweep),
            "imports": command_s(["-c", "import eval.compare.cli"], cache),
            "text": command_s(compare, cache),
            "page": command_s([*compare, "--out", str(place / "page.html")], cache),
            "page again": command_s([*compare, "--out", str(place / "page.html")], cache),
        }
        megabytes = (place / "page.html").stat().st_size / 1e6
    for what, (wall_s, cpu_s) in seconds.items():
        print(f"{what:15} {wall_s:6.2f} s   {cpu_s:6.2f} s of processors")
    print(f"the page has {megabytes:.1f} MB; wanted: {options.runs} runs in at most {WANTED_S:g} s")
    told = {"seconds": {what: round(wall_s, 2) for what, (wall_s, _) in seconds.items()}}
    told["cpu_seconds"] = {what: round(cpu_s, 2) for what, (_, cpu_s) in seconds.items()}
    print(json.dumps({"runs": options.runs, **told, "page_mb": round(megabytes, 1), "wanted_s": WANTED_S}))
    return 0


if __name__ == "__main__":
    program.run(__spec__.name)
