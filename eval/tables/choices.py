"""Which configs a table of an ablation needs: without them no run can be one of its rows."""

from typing import TYPE_CHECKING

from omegaconf import OmegaConf

from worldgen.config import CONF_DIR, choice, choices

if TYPE_CHECKING:
    from eval.tables.settings import TableSettings


def group_of(settings: "TableSettings") -> tuple[str, str] | None:
    """The group of conf/ whose choices are the table's rows, and the key within it that is a row's name; the key is
    empty where the choice itself is. None where runs are not told apart by a group."""
    parts = (settings.group_by or "").split(".")
    for place, group in reversed(list(enumerate(parts))):
        if group and (CONF_DIR / group).is_dir():
            return group, ".".join(parts[place + 1 :])
    return None


def choice_of(settings: "TableSettings", row: str) -> str | None:
    """`group=choice`, which makes the runs of a row; None where there is none."""
    found = group_of(settings)
    if found is None:
        return None
    group, key = found
    name = next((name for name in choices(group) if (_value(group, name, key) if key else name) == row), None)
    return f"{group}={name}" if name else None


def missing_choices(settings: "TableSettings") -> dict[str, str]:
    """{row: the config that would make its runs}, of the rows of ours of which there is none.

    A table whose runs are told apart by a group has a choice of that group for each row; by a setting such as
    `panorama.heuristic`, some choice that sets it so. Where neither is a group of conf/, nothing is known.
    """
    found = group_of(settings)
    if found is None:
        return {}
    group, key = found
    told = "conf/{group}/{row}.yaml" if not key else "conf/{group}/*.yaml with {key}={row}"
    ours = [row for row, about in settings.rows.items() if not about.given]
    return {row: told.format(group=group, row=row, key=key) for row in ours if choice_of(settings, row) is None}


def _value(group: str, name: str, key: str) -> str:
    value = OmegaConf.select(choice(group, name), key)
    return str(value).lower() if isinstance(value, bool) else str(value)
