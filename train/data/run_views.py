"""What the splat step of one of our own runs fits, read back from the run folder."""

from collections.abc import Sequence
from pathlib import Path

from worldgen.errors import UserError
from worldgen.recipe.training_views import SupervisionSettings, TrainingViews
from worldgen.runs.reader import RunReader
from worldgen.runs.steps_table import COMPLETE, FOV, LIFT, PANORAMA, SPLAT
from worldgen.types import PointCloud, SupervisionView

_STEPS = (FOV, PANORAMA, LIFT, COMPLETE)  # whose files the splat step reads


def read_run(folder: Path) -> tuple[Sequence[SupervisionView], PointCloud]:
    """The views, and the cloud to start from, by the splat step's own functions. Its config decides how the panorama is
    cut; where that step never finished, the defaults do.

    Raises UserError where one of the steps before it never finished, or its files are not what it left.
    """
    reader = RunReader(folder)
    steps = reader.manifest()["steps"]
    missing = [step for step in _STEPS if step not in steps]
    if missing:
        raise UserError(f"{folder}: no finished {missing[0]} step, wanted a run until complete, at least")
    try:
        chosen = steps.get(SPLAT, {}).get("config", {}).get("views", {})
        settings = SupervisionSettings(**{key: value for key, value in chosen.items() if not key.startswith("_")})
        camera = reader.camera()
        return TrainingViews(camera, reader.panorama(), reader.completed(), settings), reader.cloud()
    except OSError as error:
        raise UserError(f"{error.filename or folder}: cannot be read ({error.strerror}), wanted a whole run") from error
    except (KeyError, TypeError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise UserError(f"{folder}: its JSON files are not as the steps left them ({error})") from error
