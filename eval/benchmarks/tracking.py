"""What W&B costs a run: `python -m eval.benchmarks.tracking examples/venice.jpg experiment=tiny --out runs/tracked`

Makes the world with logger=wandb, offline, and says how long the recipe waited for W&B, and what W&B's own thread
computed meanwhile, before the end. The last line is one JSON object.
"""

import argparse
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from worldgen import pipeline, program
from worldgen.arguments import Parser
from worldgen.config import compose
from worldgen.present.console import Reporter
from worldgen.runs.folder import StepResult
from worldgen.runs.wandb_runs import WandbTracking, WorldRun
from worldgen.runs.wandb_steps import LogStep

WANTED_PERCENT = 1.0
_waited_s: list[float] = []
_thread_cpu_s: list[float] = []


class TimedWandb(WandbTracking):
    """The same, with a clock around whatever the recipe waits for."""

    @contextmanager
    def of_run(self, run: WorldRun, note: Callable[[str], None]) -> Iterator[LogStep]:
        with _timed():
            tracked = super().of_run(run, note)
            log = tracked.__enter__()

        def log_step(result: StepResult) -> None:
            with _timed():
                log(result)

        try:
            yield log_step
        finally:
            _thread_cpu_s.append(_cpu_s_of("wandb"))
            with _timed():
                tracked.__exit__(None, None, None)


@contextmanager
def _timed() -> Iterator[None]:
    began = time.perf_counter()
    yield
    _waited_s.append(time.perf_counter() - began)


def _cpu_s_of(name: str) -> float:
    """CPU time of this process's threads of that name."""
    threads = [each.ident for each in threading.enumerate() if each.name.startswith(name) and each.ident]
    return sum(time.clock_gettime(time.pthread_getcpuclockid(ident)) for ident in threads)


def main(arguments: Sequence[str]) -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path, help="a photo")
    parser.add_argument("overrides", nargs="*", help="as of python -m worldgen")
    parser.add_argument("--out", type=Path, required=True, help="the run folder; a new one")
    options = parser.parse_args(arguments)
    config = compose(options.image, ["logger=wandb", "logger.mode=offline", *options.overrides], out=options.out)
    config.logger._target_ = f"{TimedWandb.__module__}.{TimedWandb.__name__}"
    began, cpu_began = time.perf_counter(), time.process_time()
    pipeline.run(config, Reporter())
    run_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    percent = 100 * sum(_waited_s) / run_s
    print(f"waited for W&B: {percent:.2f} % of {run_s:.0f} s   wanted {WANTED_PERCENT:g} or less")
    figures = {
        "run_s": run_s, "waited_s": sum(_waited_s), "waited_percent": percent,
        "cpu_s": cpu_s, "thread_cpu_s": sum(_thread_cpu_s),
    }  # fmt: skip
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))
    return 0


if __name__ == "__main__":
    program.run("eval.benchmarks.tracking")
