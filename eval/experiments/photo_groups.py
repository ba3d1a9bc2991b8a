"""Tables whose rows are groups of photos: each scored by itself, by several protocols, nothing paired.

    score_groups(config, settings, "runs/generalisation/*/*", out, make_metric)
    table_of_groups(settings, out)

The scores of a group by a protocol lie in <out>/<protocol>/<group>, as those of any evaluation.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from eval.protocols.methods import UNKNOWN
from eval.protocols.outputs import Output
from eval.scoring.cache import ScoreCache
from eval.scoring.evaluate import evaluate, outputs
from eval.scoring.scores import SCORES_FILE, read_evaluation, read_scores
from eval.tables.build import Cell, Table, TableRow, build
from eval.tables.settings import Row, TableSettings
from worldgen.config import choice, instantiate
from worldgen.errors import UserError, expect
from worldgen.present.console import Reporter
from worldgen.processors import usable_cores

_OF_ONE = ("_target_", "name", "metrics")  # settings that a protocol does not share


def restricted(settings: TableSettings, config: DictConfig) -> TableSettings:
    """The settings with the columns that are asked for: those of `metrics=`, and of another `protocol=` than the
    table's own. Raises UserError where there are none, or no such ones."""
    columns = {name: replace(column, protocol=_protocol(settings, name)) for name, column in settings.columns.items()}
    for name in config.metrics or ():
        expect("metrics", name, name in columns, f"some of {', '.join(columns)}")
    known = dict.fromkeys(str(column.protocol) for column in columns.values())
    if config.protocol.name != settings.protocol:
        expect("protocol", config.protocol.name, config.protocol.name in known, f"one of {', '.join(known)}")
        columns = {name: column for name, column in columns.items() if column.protocol == config.protocol.name}
    if config.metrics:
        columns = {name: column for name, column in columns.items() if name in config.metrics}
    return replace(settings, columns=columns)


def score_groups(
    config: DictConfig,
    settings: TableSettings,
    runs: str,
    out: Path,
    metric: Callable[[str], Any],
) -> list[str]:
    """Scores the runs, group by group, by each protocol of the table's columns; returns a line for each group that a
    protocol could not score. metric: makes one by its name. Raises UserError where nothing at all was scored."""
    reporter, lacking = Reporter(config.quiet), []
    cache = ScoreCache() if config.cache else None
    processes = config.processes or usable_cores()
    try:
        for name in _protocols(settings):
            protocol = instantiate(_settings_for(config, name))
            metrics = [metric(column) for column in _columns(settings, name)]
            for output in _groups(protocol, runs, str(settings.group_by)):
                folder = out / name / output.method
                reporter.note(f"{output.method}: {len(output.items)} runs by protocol={name}")
                options = (processes, cache, reporter.track, config.allow_missing, config.keep_views)
                try:
                    evaluate(protocol, [output], metrics, folder, *options)
                except UserError as error:
                    lacking.append(f"{output.method}, protocol={name}: {error}")
    finally:
        reporter.close()
    if not any(out.glob(f"*/*/{SCORES_FILE}")):
        raise UserError(lacking[0])
    return lacking


def table_of_groups(settings: TableSettings, out: Path, lacking: Sequence[str] = ()) -> Table:
    """The table of what is stored in `out`: a row for each group, those that the settings do not name below."""
    found = {name: _tables(settings, name, out) for name in _protocols(settings)}
    groups = dict.fromkeys([*settings.rows, *sorted({group for tables in found.values() for group in tables})])
    rows = tuple(TableRow(group, _label(settings, group), _cells(settings, found, group)) for group in groups)
    several = [table for tables in found.values() for table in tables.values()]
    lines = dict.fromkeys(line for table in several for line in table.footer) or _empty(settings).footer
    lost: dict[str, int] = {}
    for table in several:
        lost |= {group: lost.get(group, 0) + count for group, count in table.lost.items()}
    short = tuple(dict.fromkeys(line for table in several for line in table.short))
    footer = (*lines, *(f"Not scored: {line}." for line in lacking))
    return Table(settings.name, settings.title, settings.columns, rows, footer, settings.interval, short, (), lost)


def _protocols(settings: TableSettings) -> list[str]:
    return list(dict.fromkeys(_protocol(settings, metric) for metric in settings.columns))


def _protocol(settings: TableSettings, metric: str) -> str:
    return settings.columns[metric].protocol or settings.protocol


def _columns(settings: TableSettings, protocol: str) -> list[str]:
    return [metric for metric in settings.columns if _protocol(settings, metric) == protocol]


def _settings_for(config: DictConfig, name: str) -> DictConfig:
    """A protocol's config, with what was changed of the table's own where it has such settings, too."""
    own, asked = choice("protocol", name), config.protocol
    if name == asked.name:
        return asked
    before = choice("protocol", asked.name)
    for key in asked:
        if key not in _OF_ONE and key in own and asked[key] != before[key]:
            own[key] = asked[key]
    return own


def _groups(protocol: Any, runs: str, group_by: str) -> list[Output]:
    return [output for output in outputs(protocol, {}, runs, group_by) if output.method != UNKNOWN]


def _tables(settings: TableSettings, protocol: str, out: Path) -> dict[str, Table]:
    """{group: its own table by one protocol}, of what is stored."""
    columns = {name: settings.columns[name] for name in _columns(settings, protocol)}
    found = {}
    for file in sorted((out / protocol).glob(f"*/{SCORES_FILE}")):
        group, folder = file.parent.name, file.parent
        rows = {group: Row(_label(settings, group))}
        alone = replace(settings, protocol=protocol, columns=columns, rows=rows, baseline=None)
        found[group] = build(alone, read_scores(folder), read_evaluation(folder))
    return found


def _cells(settings: TableSettings, found: dict[str, dict[str, Table]], group: str) -> tuple[Cell, ...]:
    cells = []
    for metric in settings.columns:
        table = found[_protocol(settings, metric)].get(group)
        row = next((row for row in table.rows if row.method == group), None) if table else None
        place = list(table.columns).index(metric) if table else 0
        cells.append(row.cells[place] if row else Cell(None, None))
    return tuple(cells)


def _label(settings: TableSettings, group: str) -> str:
    return settings.rows[group].label if group in settings.rows else group


def _empty(settings: TableSettings) -> Table:
    return build(settings, [], {})
