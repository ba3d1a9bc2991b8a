"""How long does scoring many pictures by BRISQUE and NIQE take, against a loop over pyiqa's own call?

    python -m eval.benchmarks.scoring --count 1000 --size 1024

Ours is `eval.scoring.score.score` on PNG files with an empty cache, with the start of its processes, without the
compilation of the kernels, which happens once per installation. The reference is pyiqa's own metrics, created once and
called one picture after the other, each file loaded once, in a process of its own with torch's threads as they come. It
scores a subset, one half before ours and one half after; its time for all pictures is extrapolated from that. The last
line is one JSON object.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import scipy.io
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from eval.metrics.brisque_niqe import Brisque, Niqe, brisque_svm, niqe_pristine
from eval.protocols.picture_sources import ImageFile
from eval.protocols.pictures import Picture
from eval.scoring.cache import ScoreCache
from eval.scoring.score import score
from eval.synthetic.panoramas import crop, truth_panoramas
from worldgen import program
from worldgen.arguments import Parser
from worldgen.errors import UserError
from worldgen.present.console import Reporter
from worldgen.processors import usable_cores
from worldgen.progress import Track

WANTED_RATIO = 2.0
TOLERANCES = {"brisque": 0.15, "niqe": 0.02}
"""Scores differ by pyiqa's luma (see `eval.metrics.brisque_niqe`: 0.02 of BRISQUE, 0.016 of NIQE), by its float32 sum
of BRISQUE (0.01), and where float32 sums in another order take a shape to the table's next step (0.1 of BRISQUE)."""
_DAMAGES = ("none", "noise", "blur", "coarse")
_REFERENCE = """
import json, sys, time
import torch, worldgen._torchvision
import pyiqa
from pyiqa.utils.img_util import imread2tensor
metrics = {name: pyiqa.create_metric(name, pretrained_model_path=path, device=torch.device("cpu"))
           for name, path in json.loads(sys.argv[1]).items()}
print(torch.get_num_threads(), flush=True)
for line in sys.stdin:
    began, scores = time.perf_counter(), []
    for path in json.loads(line):
        picture = imread2tensor(path, rgb=True)[None]
        scores.append({name: float(metric(picture)) for name, metric in metrics.items()})
    print(json.dumps([time.perf_counter() - began, scores]), flush=True)
"""


class Reference:
    """pyiqa's own metrics in a process of their own, which waits for work while we score."""

    def __init__(self, folder: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _REFERENCE, json.dumps(write_pyiqa_parameters(folder))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self.threads = int(self._answer())

    def __call__(self, paths: Sequence[Path]) -> tuple[float, list[dict[str, float]]]:
        """Seconds, and each file's scores."""
        print(json.dumps([str(path) for path in paths]), file=self._stdin, flush=True)
        seconds, scores = json.loads(self._answer())
        return seconds, scores

    def close(self) -> None:
        self._stdin.close()
        self._process.wait()

    def _answer(self) -> str:
        line = self._stdout.readline()
        if not line:
            raise UserError("pyiqa: the process that times it ended; is the extra 'eval' installed?")
        return line


def write_pyiqa_parameters(folder: Path) -> dict[str, str]:
    """The files that pyiqa's metrics load their parameters from, by metric."""
    svm, pristine = folder / "brisque.pth", folder / "niqe.mat"
    coefficients, vectors = (torch.from_numpy(part).float() for part in brisque_svm())
    torch.save((coefficients[:, None], vectors), svm)
    mean, covariance = niqe_pristine()
    scipy.io.savemat(pristine, {"mu_prisparam": mean, "cov_prisparam": covariance})
    return {"brisque": str(svm), "niqe": str(pristine)}


def write_pictures(folder: Path, count: int, size: int, track: Track) -> list[Path]:
    """`count` different PNG files of size x size: looks round real panoramas, as they are, noisy, blurred or coarse."""
    panoramas = _panoramas()
    paths = []
    for index in track(range(count), count, "making pictures"):
        yaw_deg = 360 * (index * 0.618 % 1)
        rgb = _damaged(crop(panoramas[index % len(panoramas)], yaw_deg, 90, size, size), index)
        pixels = (rgb.permute(1, 2, 0) * 255 + 0.5).byte().numpy()
        paths.append(folder / f"{index:05}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def _panoramas() -> list[Tensor]:
    try:
        return [rgb for _, rgb in truth_panoramas()]
    except UserError:
        return list(_clouds(count=4))


def _clouds(count: int) -> Iterator[Tensor]:
    """Panoramas [3, 512, 1024] of noise whose spectrum falls like a photo's, for machines without a network."""
    for seed in range(count):
        noise = torch.randn(3, 512, 1024, generator=torch.Generator().manual_seed(seed))
        frequency = torch.fft.fftfreq(512)[:, None].hypot(torch.fft.rfftfreq(1024)).clamp(min=1e-3)
        clouds = torch.fft.irfft2(torch.fft.rfft2(noise) / frequency)
        yield (0.5 + 0.2 * clouds / clouds.std()).clamp(0, 1)


def _damaged(rgb: Tensor, index: int) -> Tensor:
    damage = _DAMAGES[index % len(_DAMAGES)]
    strength = (1 + index // len(_DAMAGES) % 5) / 5
    if damage == "noise":
        noise = torch.randn(rgb.shape, generator=torch.Generator().manual_seed(index))
        return (rgb + 0.05 * strength * noise).clamp(0, 1)
    if damage == "blur":
        radius = 1 + index // len(_DAMAGES) % 3
        return F.avg_pool2d(rgb[None], 2 * radius + 1, stride=1, padding=radius, count_include_pad=False)[0]
    if damage == "coarse":
        return (rgb * (16 + 64 * strength)).round() / (16 + 64 * strength)
    return rgb


def ours(paths: Sequence[Path], processes: int, folder: Path, track: Track) -> tuple[float, list[dict[str, float]]]:
    """Seconds, and each file's scores, as `Reference` gives them."""
    metrics = [Brisque(), Niqe()]
    pictures = [Picture("benchmark", path.stem, "whole", ImageFile(path)) for path in paths]
    score(pictures[:1], metrics, None, 1)  # compiles the kernels, unless that was done before
    began = time.perf_counter()
    scored = score(pictures, metrics, ScoreCache(folder / "scores"), processes, track)
    seconds = time.perf_counter() - began
    if scored.failed or scored.unavailable:
        raise UserError(f"not everything was scored: {scored.failed or scored.unavailable}")
    found: dict[str, dict[str, float]] = {path.stem: {} for path in paths}
    for row in scored.rows:
        found[row.image][row.metric] = row.value
    return seconds, list(found.values())


def compare(paths: Sequence[Path], reference_count: int, processes: int, folder: Path, track: Track) -> dict:
    """Times both and compares their scores. Raises UserError where these differ."""
    places = sorted({round(place) for place in np.linspace(0, len(paths) - 1, min(reference_count, len(paths)))})
    reference = Reference(folder)
    reference([paths[0]])  # the first call of all is the slowest
    middle = (len(places) + 1) // 2
    before_s, before = reference([paths[place] for place in places[:middle]])
    ours_s, scores = ours(paths, processes, folder, track)
    after_s, after = reference([paths[place] for place in places[middle:]])
    reference.close()
    apart = {
        name: max(abs(scores[place][name] - theirs[name]) for place, theirs in zip(places, before + after, strict=True))
        for name in TOLERANCES
    }
    if any(apart[name] > tolerance for name, tolerance in TOLERANCES.items()):
        raise UserError(f"scores differ from pyiqa's by {apart}, wanted at most {TOLERANCES}")
    reference_s = (before_s + after_s) / len(places) * len(paths)
    return {
        "count": len(paths),
        "processes": processes,
        "ours_s": round(ours_s, 2),
        "reference_s": round(reference_s, 2),
        "reference_count": len(places),
        "reference_threads": reference.threads,
        "ratio": round(reference_s / ours_s, 2),
        "brisque_apart": round(apart["brisque"], 5),
        "niqe_apart": round(apart["niqe"], 9),
    }


def main(arguments: Sequence[str]) -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="pictures that we score")
    parser.add_argument("--size", type=int, default=1024, help="their width and height, pixels")
    parser.add_argument("--reference-count", type=int, default=40, help="pictures among them that pyiqa scores")
    parser.add_argument("--processes", type=int, default=usable_cores(), help="default: one per core")
    options = parser.parse_args(arguments)
    reporter = Reporter()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        paths = write_pictures(folder, options.count, options.size, reporter.track)
        figures = compare(paths, options.reference_count, options.processes, folder, reporter.track)
    print(
        f"ours       {figures['ours_s']:9.1f} s for {figures['count']} pictures, {figures['processes']} processes\n"
        f"pyiqa      {figures['reference_s']:9.1f} s, extrapolated from {figures['reference_count']} pictures, "
        f"{figures['reference_threads']} threads\n"
        f"ratio      {figures['ratio']:9.1f}   wanted {WANTED_RATIO:g} or more: "
        f"{'yes' if figures['ratio'] >= WANTED_RATIO else 'NO'}"
    )
    print(json.dumps({"size": options.size, **figures}))
    return 0


if __name__ == "__main__":
    program.run("eval.benchmarks.scoring")
