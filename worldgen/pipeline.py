"""The recipe, in the paper's order: each step reads what earlier steps left and leaves its own files.

What the steps do is in `steps.py`. Whether one has to run at all is the run folder's to say (`run.py`), and where none
has to, nothing heavy is imported.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from worldgen.config import expect_ours, instantiate, one_line_errors
from worldgen.errors import UserError, expect
from worldgen.io.photo import MAX_SIDE_PX, examine, load_photo
from worldgen.io.photo_sphere import GIVEN, Shape, heuristic_for
from worldgen.models import assets
from worldgen.models.assets import targets_of
from worldgen.models.pool import Pool
from worldgen.models.protocols import FromHub
from worldgen.present.console import Reporter
from worldgen.runs.folder import RunFolder, StepResult, disk_errors
from worldgen.runs.layout import MANIFEST
from worldgen.runs.record import unchanged
from worldgen.runs.steps_table import SPLAT, STEPS, StepSpec
from worldgen.runs.wandb_runs import WorldRun

if TYPE_CHECKING:
    from numpy import ndarray

    from worldgen.steps import Job


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
    tracking = instantiate(config.logger)
    RunFolder.expect_free(run_dir)
    photo_sha256 = unchanged(run_dir, [(step, config_of(config, step)) for step in steps], image)
    finished = photo_sha256 is not None
    if finished:
        make_adapters(config, STEPS[len(steps) :])  # what made the others' files was checked when it did
    sha256 = photo_sha256 or job().photo.sha256
    tracked = WorldRun(
        run_dir, image, sha256, _plain(config), [step.name for step in steps], partial(_side_steps, run_dir)
    )
    with RunFolder.open(run_dir, sha256, image.name) as folder, tracking.of_run(tracked, reporter.note) as log_step:
        reporter.log_to(folder.root / "log.txt")
        for number, step in enumerate(steps, start=1):
            with reporter.step(number, len(steps), step.name, step.title) as line:
                line.result = run_step(folder, step, config_of(config, step), job, steps[number:])
            when_done(line.result)
            log_step(line.result)
        if not finished or not _report_is_current(folder.root):
            _write_report(folder.root)
    return folder


def prepare(config: DictConfig, reporter: Reporter, shape: Shape, steps: Sequence[StepSpec] = STEPS) -> "Job":
    """All that the steps work with, for a photo of that shape, so that what is wrong with any of it is said before the
    first one, and so that no step's time counts what is imported or fetched. Raises UserError."""
    path, given = Path(config.image), config.panorama.heuristic == GIVEN
    photo = load_photo(path, max(MAX_SIDE_PX, config.panorama.width) if given else MAX_SIDE_PX)
    adapters = make_adapters(config)
    _ = adapters.runtime.torch_dtype  # says that there is no such device
    for adapter in _from_hub(adapters, steps):
        if reason := adapter.unavailable():
            raise UserError(reason)
    for name in assets.needed([config_of(config, step) for step in steps]):
        _fetch(name, reporter)
    from worldgen.recipe.given import looks_closed
    from worldgen.steps import Job

    if any(step.name == SPLAT for step in steps):
        adapters["splat"].import_fit()
    if not given and shape.may_be_sphere and looks_closed(photo.rgb):
        reporter.note(f"{path}: may be a 360-degree panorama, taken as a plain photo; panorama=given takes it as that")
    return Job(config, adapters, photo, reporter, shape.sphere)


def _fetch(name: str, reporter: Reporter) -> None:
    """A pretrained file, ahead of the steps; without an optional one they go on, and that is said. Raises UserError."""
    try:
        assets.fetch(name, reporter.track)
    except UserError as error:
        if not assets.ASSETS[name].optional:
            raise
        reporter.note(f"goes on without {assets.ASSETS[name].what}: {error}")


def _settled(config: DictConfig, heuristic: str) -> DictConfig:
    """The config with what `panorama.heuristic` came to. Of a given panorama's settings only those that count are left,
    so that no other has it made again; nor has the inpainter, where the panorama has a painter of its own. With a field
    of view by hand nobody has to find one, nor has its weights."""
    panorama = {**config.panorama, "heuristic": heuristic}
    if heuristic == GIVEN:
        panorama = {key: panorama[key] for key in ("_target_", "heuristic", "width")}
    settled = config.copy()
    settled.panorama = panorama
    if panorama.get("painter") is not None:
        settled.inpainter = None
    if config.fov_deg is not None:
        settled.fov = {"_target_": "worldgen.recipe.fov.FixedFov", "deg": config.fov_deg}
    return settled


def steps_until(last: str | None) -> tuple[StepSpec, ...]:
    """The recipe up to the step `last`; None = the whole of it. Raises UserError."""
    names = [step.name for step in STEPS]
    expect("until", last, last is None or last in names, f"one of {', '.join(names)}")
    return STEPS if last is None else STEPS[: names.index(last) + 1]


def run_step(
    folder: RunFolder,
    step: StepSpec,
    config: dict[str, Any],
    job: Callable[[], "Job"],
    later: Sequence[StepSpec] = (),
) -> StepResult:
    """Runs one step, unless its files stand for the same config and inputs already; only then `job` is asked for, and
    the adapters that the step needs are in memory; those that no `later` step uses are not any more afterwards."""

    def produce(out: Path) -> Any:
        work = job()
        from worldgen.steps import PRODUCE

        try:
            work.adapters.load(step.groups)
            return PRODUCE[step.name](work, out)
        finally:
            work.adapters.release_all_but({group for other in later for group in other.groups})

    used = assets.used_by(config)
    result = folder.step(step.name, config, step.inputs, produce, step.editable, step.version, used)
    for output in step.outputs:
        if (result.path / output).exists():
            folder.link(output, step.name, output)
    return result


def config_of(config: DictConfig, step: StepSpec) -> dict[str, Any]:
    """What a step is to be made of, JSON-able."""
    made_of = {group: _plain(config[group]) for group in step.groups} | {"seed": config.seed}
    if config.panorama.heuristic == GIVEN and not step.inputs:
        made_of["panorama"] = _plain(config.panorama)  # these steps look at the photo, which is the panorama
    return made_of


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def make_adapters(config: DictConfig, steps: Sequence[StepSpec] = STEPS) -> Pool:
    """Every group's object, all before the first step, so that a wrong setting costs no time. Raises UserError."""
    groups = sorted({group for step in steps for group in step.groups if OmegaConf.is_config(config[group])})
    nodes = {group: _plain(config[group]) for group in groups}
    for target in targets_of(nodes):
        expect_ours(target)
    runtime = instantiate(config.runtime)
    with one_line_errors():
        return Pool(nodes, runtime)


def networks_of_hub(config: DictConfig) -> list[FromHub]:
    """The adapters of a config whose weights are the model hub's, none of them loaded, up to its step `until`. Raises
    UserError."""
    asked = config.panorama.heuristic
    adapters = make_adapters(_settled(config, "anchored" if asked == "auto" else asked))
    return _from_hub(adapters, steps_until(config.until))


def _from_hub(adapters: Pool, steps: Sequence[StepSpec]) -> list[FromHub]:
    groups = {group for step in steps for group in step.groups}
    return [adapter for adapter in adapters.objects(groups) if isinstance(adapter, FromHub)]


def _report_is_current(run_dir: Path) -> bool:
    """Whether the report was written after the manifest last changed. A file that was changed by hand does not show
    there: who finds one writes the report again in any case."""
    report, manifest = run_dir / "report.html", run_dir / MANIFEST
    return report.is_file() and report.stat().st_mtime_ns >= manifest.stat().st_mtime_ns


def _side_steps(run_dir: Path) -> "dict[str, ndarray]":
    from worldgen.present.report_pictures import side_steps

    return side_steps(run_dir)


def _write_report(run_dir: Path) -> None:
    from worldgen.present.report import write_report

    with disk_errors(run_dir):
        write_report(run_dir)
