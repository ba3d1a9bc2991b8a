"""The command line of the evaluation: `python -m eval protocol=panorama methods.mine=<folder>`."""

import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from glob import glob
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from eval.protocols.file_frames import FileFrame, expect_methods, take_frames
from eval.protocols.outputs import placed
from eval.scoring.scores import EVALUATION_FILE, SCORES_FILE, read_evaluation, read_scores
from worldgen import command
from worldgen.config import choices, compose_program, instantiate, is_sweep, one_line_errors
from worldgen.errors import UserError, expect, is_whole
from worldgen.models.runtime import with_runtime
from worldgen.paths import resolve, user_path
from worldgen.present.console import Reporter
from worldgen.processors import usable_cores
from worldgen.runs.wandb_session import expect_wandb

USAGE = """\
Scores panoramas, worlds and pictures by the field's metrics, and makes the paper's tables.

  python -m eval protocol=panorama methods.mvdiffusion=<folder> methods.ours='runs/*'    any method's output
  python -m eval protocol=images methods.mine=<folder> out=<folder>                      pictures as they are
  python -m eval table=panorama runs='runs/*'                     a table of the paper, from the runs at hand
  python -m eval table=panorama_ablation                          an ablation, from the folder of its runs
  python -m eval table=panorama_ablation protocol=truth protocol.truth=<folder>    the same against the truth
  python -m eval table=panorama format=latex                      stored scores once more, as LaTeX (or csv)
  python -m eval -m hydra/launcher=slurm table=panorama runs='runs/*' jobs=8      scored by eight Slurm jobs
  python -m eval --cfg job                                        every key and its value

A method is a folder of panoramas, of frames (a subfolder for each scene) or of splats, a file, a run folder, a folder
of run folders, or a pattern. Methods are compared over the images of which all of them have the same views; one that
lost a view (missing, broken, of a single colour) is not ranked. Scores go to <out>/scores.csv, what they rest on to
<out>/evaluation.json, the table to <out>/table.md, .csv (with .json) and .tex; a folder that holds scores already gets
the new methods beside the old ones. The last line printed is one JSON object with the table's figures.

keys
  methods.<name>   where that method's output is
  methods.<name>.axes, .scale, .origin     how its splats (.ply, .spz) lie: a point p of the file becomes
                   scale * R (p - origin) in metres, x right, y down, z forward, the place of the photo in the origin.
                   axes (R): opencv (default: as ours), opengl (x right, y up, z backward), y_up (glTF: x left, y up, z
                   forward), z_up (nerfstudio, Blender: x right, y forward, z up); scale: metres in a unit of the file
                   (default 1); origin: the photo's place in the file's own axes and unit (default [0,0,0])
  runs, group_by   our own run folders, and the setting that tells them apart as methods (panorama.heuristic)
  baseline         the method that all others' paired differences are taken from (default: the table's)
  allow_missing    true compares whatever views all methods have, and ranks methods that lost some
  metrics          names, for example metrics=[brisque,niqe] (default: the protocol's)
  metric.<name>.<key>   a metric's own settings, for example metric.clip_i.path=<folder of weights>
  runtime.device   where metrics' networks run: auto (default: a GPU where there is one), cpu, cuda
  keep_views       true writes what is scored to <out>/views/<method>/<image>/<view>.png
  out, format, processes, cache, wandb, quiet      conf/eval.yaml tells what they mean

groups and their choices (* = default)
"""
NOT_WAITED_FOR = ("hydra.launcher.wait=false", "hydra.launcher.dry_run=true")
_NOTHING_NAMED = "methods: none, wanted methods.<name>=<path>, runs=<folders> or table=<name>"
FORMATS = {"markdown": "md", "csv": "csv", "latex": "tex"}


def main(arguments: Sequence[str]) -> int:
    """Runs one evaluation; returns the exit status."""
    return command.begin(arguments, USAGE, _choices, _obey, "processes=1")


def _obey(arguments: Sequence[str]) -> None:
    frames, others = take_frames(arguments)
    methods, overrides = take_methods(others)
    expect_methods(frames, methods)
    options = {argument for argument in overrides if argument.startswith("-")}
    if options & {"-m", "--multirun"}:
        in_parts([override for override in overrides if not override.startswith("-")], methods, frames)
    elif options:
        command.run_by_hydra(overrides, "eval", partial(_run, methods=methods, frames=frames))
    else:
        _run(_compose(overrides), methods, frames)


def in_parts(overrides: Sequence[str], methods: Mapping[str, str], frames: Mapping[str, FileFrame]) -> None:
    """With -m: scores in `jobs` parts, each by a process of the launcher's, which share the cache; then the evaluation
    itself, which finds them there."""
    overrides = _with_own_protocol(overrides)
    several = [override for override in overrides if is_sweep(override)]
    expect("".join(several[:1]), "several values", not several, "one call for each table or protocol")
    config = compose_program("eval", overrides)
    fits = is_whole(config.jobs) and config.jobs >= 1
    expect("jobs", config.jobs, fits, "a whole number from 1")
    expect("cache", config.cache, bool(config.cache), "true with -m: parts leave their scores there")
    expect("part", config.part, config.part is None, "none: -m fills it in")
    by_groups = config.get("table") and not config.table.get("paired", True)
    expect("-m", f"table={config.table.name}" if by_groups else "", not by_groups, "a table of methods")
    if not methods and config.runs is None and not config.get("table"):
        raise UserError(_NOTHING_NAMED)
    parts = f"part={','.join(map(str, range(config.jobs)))}"
    command.run_by_hydra(["-m", *overrides, parts], "eval", partial(_score_part, methods=methods, frames=frames))
    if any(override.replace("=False", "=false").replace("=True", "=true") in NOT_WAITED_FOR for override in overrides):
        return
    _run(config, methods, frames)


def _score_part(config: DictConfig, methods: Mapping[str, str], frames: Mapping[str, FileFrame]) -> None:
    """One part of the scoring, in a process of the launcher's."""

    def action() -> None:
        with one_line_errors():
            resolve(config)
        _evaluate_what_is_named(config, methods, frames)

    command.one_of_many(action, "processes=1")


def _run(config: DictConfig, methods: Mapping[str, str], frames: Mapping[str, FileFrame]) -> None:
    if config.wandb:
        expect_wandb("wandb=true")
    expect("format", config.format, config.format in FORMATS, f"one of {', '.join(FORMATS)}")
    from eval.tables.formats import as_json, render  # takes seconds to import, which mistakes above need not

    out = _out(config)
    if config.get("table") and not config.table.get("paired", True):
        table = _by_group(config, methods, out)
    else:
        _evaluate_what_is_named(config, methods, frames)
        table = _table(config, out)
    if config.wandb and (out / SCORES_FILE).exists():
        from eval.wandb_evaluation import log_evaluation

        log_evaluation(out, table, Reporter(config.quiet).note)
    print(render(table, config.format))
    stored = (out / "table.md").exists()
    if stored and not config.quiet:
        print(f"scores, tables and what they rest on: {out}\n")
    told = {"protocol": config.protocol.name, "out": str(out) if stored else None}
    print(json.dumps(told | as_json(table)))


def take_methods(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """`methods.<name>=<path>` as they stand, whatever signs are in the paths, and the other arguments."""
    methods: dict[str, str] = {}
    others: list[str] = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if not key.startswith("methods."):
            others.append(argument)
            continue
        name = key.removeprefix("methods.")
        if not name or not value:
            raise UserError(f"{argument}: no {'path' if name else 'name'}, wanted methods.<name>=<path>")
        if name in methods:
            raise UserError(f"methods.{name}: given twice, wanted another name")
        methods[name] = value
    return methods, others


def _compose(overrides: Sequence[str]) -> DictConfig:
    return compose_program("eval", _with_own_protocol(overrides))


def _with_own_protocol(overrides: Sequence[str]) -> list[str]:
    """A table brings its own protocol, unless another one is asked for."""
    tables = [override for override in overrides if override.startswith("table=")]
    if tables and not any(override.startswith("protocol=") for override in overrides):
        own = compose_program("eval", tables).table.protocol
        return [f"protocol={own}", *overrides]
    return list(overrides)


def _evaluate_what_is_named(config: DictConfig, methods: Mapping[str, str], frames: Mapping[str, FileFrame]) -> None:
    """Scores the methods and runs that are named, or the table's own runs; nothing where only its stored scores are
    asked for."""
    table = config.get("table")
    runs, group_by = config.runs, config.group_by or (table.group_by if table else None)
    if not methods and runs is None and table is not None and table.runs and Path(table.runs).is_dir():
        runs = table.runs
    if methods or runs is not None:
        _evaluate(config, methods, frames, runs, group_by if runs is not None else None)
    elif table is None:
        raise UserError(_NOTHING_NAMED)


def _by_group(config: DictConfig, methods: Mapping[str, str], out: Path) -> Any:
    """The table whose rows are groups of photos, of runs that are there or of stored scores."""
    from eval.experiments.photo_groups import restricted, score_groups, table_of_groups
    from eval.scoring.store import held

    given = [f"methods.{name}" for name in methods] + ["baseline"] * (config.baseline is not None)
    for key in given + ["wandb"] * bool(config.wandb):
        raise UserError(f"{key}: given, wanted none: the rows of table={config.table.name} are groups of our own runs")
    settings, lacking = restricted(instantiate(config.table), config), []
    runs = str(config.runs or settings.runs)
    if config.runs is not None or glob(str(settings.runs)):  # noqa: PTH207 it may begin at the root
        runtime = instantiate(config.runtime)
        runtime.expect_device_alone("python -m eval")

        def metric(name: str) -> Any:
            return with_runtime(_metric(config, name), runtime)

        lacking = score_groups(config, settings, runs, out, metric)
    table = table_of_groups(settings, out, lacking)
    if table.figures() and any(table.figures().values()):
        with held(out):
            _write(table, out)
    return table


def _table(config: DictConfig, out: Path) -> Any:
    """The table of what is stored in `out`, written there too where something is."""
    from eval.scoring.store import held
    from eval.tables.build import build

    def built() -> Any:
        stored = (out / SCORES_FILE).exists()
        rows, evaluation = (read_scores(out), read_evaluation(out)) if stored else ([], {})
        settings = _table_settings(config, evaluation)
        return build(settings, rows, evaluation, config.baseline, config.allow_missing)

    if not (out / SCORES_FILE).exists():
        return built()
    with held(out):  # two evaluations at once: the later one's table has the methods of both
        table = built()
        _write(table, out)
    return table


def _write(table: Any, out: Path) -> None:
    from eval.tables.formats import metadata, render
    from worldgen.runs.disk import write_text

    for name, suffix in FORMATS.items():
        write_text(out / f"table.{suffix}", render(table, name))
    write_text(out / "table.json", metadata(table))


def _evaluate(
    config: DictConfig,
    methods: Mapping[str, str],
    frames: Mapping[str, FileFrame],
    runs: str | None,
    group_by: str | None,
) -> None:
    from eval.scoring.cache import ScoreCache
    from eval.scoring.evaluate import evaluate, outputs, score_part

    protocol = instantiate(config.protocol)
    runtime = instantiate(config.runtime)
    runtime.expect_device_alone("python -m eval")
    metrics = [with_runtime(_metric(config, name), runtime) for name in config.metrics or protocol.metrics]
    reporter = Reporter(config.quiet)
    here = int(os.environ.get("SLURM_CPUS_PER_TASK") or usable_cores())
    processes = config.processes or here
    try:
        found = placed(outputs(protocol, methods, runs, group_by), frames)
        _expect_baseline(config, [output.method for output in found])
        for output in found:
            reporter.note(f"{output.method}: {len(output.items)} {output.kind} in {output.path}")
            for note in output.notes:
                reporter.note(f"  {note}")
        cache = ScoreCache() if config.cache else None
        if config.part is not None:
            score_part(protocol, found, metrics, config.part, config.jobs, processes, cache, reporter.track)
            return
        told = (reporter.track, config.allow_missing, config.keep_views)
        evaluate(protocol, found, metrics, _out(config), processes, cache, *told)
    finally:
        reporter.close()


def _metric(config: DictConfig, name: str) -> Any:
    if name not in config.metric:
        raise UserError(f"metrics: {name}, wanted some of {', '.join(config.metric)}")
    return instantiate(config.metric[name])


def _out(config: DictConfig) -> Path:
    if config.out is not None:
        return user_path(str(config.out))
    if config.get("table") is None:
        return Path("evaluations") / config.protocol.name
    by_its_own = config.table.protocol == config.protocol.name or not config.table.get("paired", True)
    return Path(config.table.scores if by_its_own else f"{config.table.scores}-{config.protocol.name}")


def _table_settings(config: DictConfig, evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """What the table shows. By another protocol than its own it has that one's metrics; without a table of conf/table
    it shows every method by every metric."""
    table: Any = OmegaConf.to_container(config.table, resolve=True) if config.get("table") else None
    if table and table["protocol"] == config.protocol.name:
        return table
    columns = {name: {"label": name, "better": told["better"]} for name, told in evaluation.get("metrics", {}).items()}
    others = {
        "protocol": config.protocol.name,
        "scores": str(_out(config)),
        "columns": columns or {name: {"label": name, "better": "lower"} for name in config.protocol.metrics},
    }
    if table:
        rows = {method: row | {"paper": {}} for method, row in table["rows"].items()}
        return table | others | {"title": f"{table['title']}, by protocol={config.protocol.name}", "rows": rows}
    methods = ", ".join(method for method in evaluation.get("methods", {}))
    title = f"{methods or 'Scores'} by the protocol {config.protocol.name}"
    return {"name": config.protocol.name, "title": title, "source": "arXiv 2503.16611", "rows": {}} | others


def _expect_baseline(config: DictConfig, methods: Sequence[str]) -> None:
    """Raises UserError for a baseline that neither is scored, nor stored, nor in the table; before scoring."""
    if config.baseline is None:
        return
    out = _out(config)
    stored = read_evaluation(out).get("methods", {}) if (out / EVALUATION_FILE).exists() else {}
    rows = config.table.rows if config.get("table") else {}
    known = dict.fromkeys([*methods, *stored, *rows])
    if config.baseline not in known:
        raise UserError(f"baseline: {config.baseline}, wanted one of {', '.join(known)}")


def _choices() -> str:
    return f"{command.describe_groups('eval')}\n  metrics   {', '.join(choices('metric'))}"
