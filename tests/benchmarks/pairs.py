"""How fast are training pairs made, and where does the time go? `python -m tests.benchmarks.pairs`

Of `data=procedural`, on one core: rendering its scenes, and samples of each warp once they are rendered. Kinds of work
are wall time without what other kinds did within it. The last line is one JSON object.
"""

import json
import time

import numba
import torch

from tests.benchmarks.stopwatch import Stopwatch
from train.data.pairs import ConditionedSamples
from worldgen.config import choice, instantiate

SCENES = 20
SAMPLES = 300
KINDS = {
    "distances made imperfect": ["eval.synthetic.imperfect:ImperfectScene.view"],
    "views held in memory": ["eval.synthetic.procedural_scenes:ProceduralScene.view"],
    "forward_warp": ["worldgen.geometry.warp:forward_warp"],
    "round_trip_warp": ["worldgen.geometry.warp:round_trip_warp"],
}


def render_all() -> dict[str, float]:
    """Milliseconds of a view, its share of making the scene counted, and of the compiling and reading before it."""
    scenes = instantiate(choice("data", "procedural")).scenes[: SCENES + 2]
    began = time.perf_counter()
    for scene in scenes[:2]:
        scene.view(0, 128)
    first = time.perf_counter()
    for scene in scenes[2:]:
        scene.view(0, 128)
    views = SCENES * len(scenes[0].cameras())
    return {"first_s": round(first - began, 2), "view_ms": round((time.perf_counter() - first) / views * 1e3, 2)}


def measure(warp: str) -> dict[str, float | dict[str, float]]:
    """Samples per second, draws per sample, and milliseconds of a sample by kind of work."""
    config = choice("data", "procedural")
    config.warp = warp
    data = instantiate(config)
    held = type(data)(**{**vars(data), "scenes": data.scenes[:SCENES]})
    for n in range(10 * SCENES):  # compiles, and renders
        ConditionedSamples(held, 10 * SCENES, seed=1)[n]
    samples = ConditionedSamples(held, SAMPLES)
    watch = Stopwatch()
    began = time.perf_counter()
    with watch.on(KINDS):
        for n in range(SAMPLES):
            samples[n]
    seconds = time.perf_counter() - began
    work = {kind: round(wall / SAMPLES * 1e3, 3) for kind, (wall, _) in watch.seconds.items()}
    return {"per_s": round(SAMPLES / seconds, 1), "draws_per_sample": samples.draws / SAMPLES, "ms": work}


def main() -> None:
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    results = {"render": render_all(), **{warp: measure(warp) for warp in ("forward", "forward_backward")}}
    for name, row in results.items():
        print(f"{name}: {row}")
    print(json.dumps({"threads": 1, "size": 128} | results))


if __name__ == "__main__":
    main()
