"""The recipe, in the paper's order: each step reads what earlier steps left and leaves its own files.

What the steps do is in `steps.py`. Whether one has to run at all is the run folder's to say (`run.py`), and where none
has to, nothing heavy is imported.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from worldgen.config import choice, instantiate
from worldgen.errors import UserError
from worldgen.io.photo import MAX_SIDE_PX, examine, load_photo
from worldgen.io.photo_sphere import GIVEN, Shape, heuristic_for
from worldgen.models import assets
from worldgen.present import report_stamp
from worldgen.present.console import Reporter
from worldgen.runs.folder import RunFolder, StepResult, disk_errors
from worldgen.runs.record import Wanted, unchanged

if TYPE_CHECKING:
    from worldgen.steps import Job


@dataclass(frozen=True)
class Step:
    """name: its subfolder; groups: config groups that decide its result; inputs: steps whose files it reads;
    outputs: files worth a link at the top of the run folder; editable: whether a file that was changed is a person's
    edit, to be kept, or damage, to be made again; version: raised when its code comes to make something else of the
    same inputs."""

    name: str
    title: str
    groups: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    editable: bool = True
    version: int = 1


STEPS = (
    Step("fov", "the photo's field of view", ("fov", "fov_deg")),
    Step("prompts", "what the scene is", ("prompts",)),
    Step(
        "panorama",
        "a panorama round the photo",
        ("panorama", "inpainter"),
        ("fov", "prompts"),
        ("panorama.png",),
    ),
    Step("refine", "finer detail", ("refine",), ("prompts", "panorama"), ("panorama.png",)),
    Step(
        "depth",
        "metric distances",
        ("depth",),
        ("prompts", "panorama", "refine"),
        ("distance.png",),
    ),
    Step("lift", "a point cloud", ("lift",), ("panorama", "refine", "depth"), editable=False, version=2),
    Step(
        "complete",
        "what the photo's place hides",
        ("complete", "inpainter", "view_depth"),
        ("prompts", "lift"),
        editable=False,
        version=2,
    ),
    Step(
        "splat",
        "Gaussian splats",
        ("splat", "views"),
        ("fov", "panorama", "refine", "lift", "complete"),
        editable=False,
        version=2,
    ),
    Step(
        "export",
        "files to look at",
        ("export",),
        ("lift", "complete", "splat"),
        ("world.ply", "world.spz", "points.ply", "world.html", "flythrough.mp4"),
    ),
)


def run(
    config: DictConfig, reporter: Reporter, when_done: Callable[[StepResult], None] = lambda result: None
) -> RunFolder:
    """Makes, or finishes, the world that `config` describes; returns its folder. Raises UserError on bad input.

    when_done: is told of each step's result.
    """
    steps, image, run_dir = steps_until(config.until), Path(config.image), Path(config.out)
    shape = examine(image)
    config = _settled(config, heuristic_for(image, shape, config.panorama.heuristic, reporter.note))
    job = cache(partial(prepare, config, reporter, shape, steps))
    log_step = instantiate(config.logger).of_run(run_dir, image.name, config.group, reporter.note)
    RunFolder.expect_free(run_dir)
    photo_sha256 = unchanged(run_dir, {step.name: _wanted(config, step) for step in steps}, image)
    finished = photo_sha256 is not None
    if finished:
        make_adapters(config, STEPS[len(steps) :])  # what made the others' files was checked when it did
    with RunFolder.open(run_dir, photo_sha256 or job().photo.sha256, image.name) as folder:
        reporter.log_to(folder.root / "log.txt")
        for number, step in enumerate(steps, start=1):
            with reporter.step(number, len(steps), step.name, step.title) as line:
                line.result = run_step(folder, step, _wanted(config, step), job)
            when_done(line.result)
            log_step(line.result)
        if not finished or not report_stamp.is_current(folder.root):
            _write_report(folder.root)
    return folder


def prepare(config: DictConfig, reporter: Reporter, shape: Shape, steps: Sequence[Step] = STEPS) -> "Job":
    """All that the steps work with, for a photo of that shape, so that what is wrong with any of it is said before the
    first one, and so that no step's time counts what is imported or fetched. Raises UserError."""
    path, given = Path(config.image), config.panorama.heuristic == GIVEN
    photo = load_photo(path, max(MAX_SIDE_PX, config.panorama.width) if given else MAX_SIDE_PX)
    adapters = make_adapters(config)
    for name in assets.needed(config):
        assets.fetch(name, reporter.track)
    from worldgen.recipe.given import looks_closed
    from worldgen.steps import Job

    for group in {group for step in steps for group in step.groups}:
        if hasattr(adapters.get(group), "load"):
            adapters[group].load()
    if not given and shape.may_be_sphere and looks_closed(photo.rgb):
        reporter.note(f"{path}: may be a 360-degree panorama, taken as a plain photo; panorama=given takes it as that")
    return Job(config, adapters, photo, reporter, shape.sphere)


def _settled(config: DictConfig, heuristic: str) -> DictConfig:
    """The config with what `panorama.heuristic` came to. Of a given panorama's settings only those that count are left,
    so that no other has it made again."""
    panorama = {**config.panorama, "heuristic": heuristic}
    if heuristic == GIVEN:
        panorama = {key: panorama[key] for key in choice("panorama", GIVEN)}
    settled = config.copy()
    settled.panorama = panorama
    return settled


def steps_until(last: str | None) -> tuple[Step, ...]:
    """The recipe up to the step `last`; None = the whole of it. Raises UserError."""
    names = [step.name for step in STEPS]
    if last is not None and last not in names:
        raise UserError(f"until: {last!r}, wanted one of {', '.join(names)}")
    return STEPS if last is None else STEPS[: names.index(last) + 1]


def run_step(folder: RunFolder, step: Step, wanted: Wanted, job: Callable[[], "Job"]) -> StepResult:
    """Runs one step, unless its files stand for the same config and inputs already; only then `job` is asked for."""

    def produce(out: Path) -> Any:
        work = job()
        from worldgen.steps import PRODUCE

        return PRODUCE[step.name](work, out)

    result = folder.step(step.name, wanted.config, wanted.inputs, produce, step.editable, wanted.version)
    for output in step.outputs:
        if (result.path / output).exists():
            folder.link(output, step.name, output)
    return result


def _wanted(config: DictConfig, step: Step) -> Wanted:
    made_of = {group: _plain(config[group]) for group in step.groups} | {"seed": config.seed}
    if config.panorama.heuristic == GIVEN and not step.inputs:
        made_of["photo"] = GIVEN  # these steps look at the photo itself
    return Wanted(made_of, step.inputs, step.version)


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def make_adapters(config: DictConfig, steps: Sequence[Step] = STEPS) -> dict[str, Any]:
    """Every group's object, all before the first step, so that a wrong setting costs no time. Raises UserError."""
    groups = sorted({group for step in steps for group in step.groups if OmegaConf.is_config(config[group])})
    return {group: instantiate(config[group]) for group in groups}


def _write_report(run_dir: Path) -> None:
    from worldgen.present.report import write_report

    with disk_errors(run_dir):
        write_report(run_dir)
