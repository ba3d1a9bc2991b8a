"""Which configs a table of an ablation needs: without them no run can be one of its rows."""

from typing import TYPE_CHECKING

from omegaconf import OmegaConf

from worldgen.config import CONF_DIR, choice, choices

if TYPE_CHECKING:
    from eval.tables.settings import TableSettings


def missing_choices(settings: "TableSettings") -> dict[str, str]:
    """{row: the config that would make its runs}, of the rows of which there is none.

    A table whose runs are told apart by a group has a choice of that group for each row; by a setting such as
    `panorama.heuristic`, some choice that sets it so. Where neither is a group of conf/, nothing is known.
    """
    parts = (settings.group_by or "").split(".")
    for place, group in reversed(list(enumerate(parts))):
        if group and (CONF_DIR / group).is_dir():
            key = ".".join(parts[place + 1 :])
            there = {_value(group, name, key) if key else name for name in choices(group)}
            told = "conf/{group}/{row}.yaml" if not key else "conf/{group}/*.yaml with {key}={row}"
            return {row: told.format(group=group, row=row, key=key) for row in settings.rows if row not in there}
    return {}


def _value(group: str, name: str, key: str) -> str:
    value = OmegaConf.select(choice(group, name), key)
    return str(value).lower() if isinstance(value, bool) else str(value)
