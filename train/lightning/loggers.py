"""Where training curves go, and what keeps Lightning quiet meanwhile."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.loggers import CSVLogger, Logger
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from train.lightning.module import LoggedModule
from train.lightning.settings import LoggerName
from train.lightning.step_callback import StepCallback
from train.lightning.wandb_training import WandbTraining
from worldgen.runs.wandb_artifacts import log_outputs
from worldgen.runs.wandb_media import curve_point, define_curves
from worldgen.runs.wandb_session import WandbSession

if TYPE_CHECKING:
    import wandb

_log = logging.getLogger("worldgen")


@contextmanager
def logging_to(
    name: LoggerName, folder: Path, identity: str, settings: Mapping[str, Any], job_type: str = "train"
) -> Iterator[Logger | bool]:
    """A logger while the block runs.

    csv: `metrics.csv` in the folder. wandb: a run of the kind `job_type` (see `WandbCurves`), which goes on where the
    same training, by its `identity`, was stopped. none: False, as Lightning's Trainer takes it.
    """
    if name == "csv":
        curves = CSVLogger(folder, name="", version="")
        yield curves
        curves.save()  # what was logged after Lightning's last step
    elif name == "wandb":
        training = WandbTraining(folder.resolve().parent, job_type, identity, settings)
        with training.session() as session:
            yield WandbCurves(session, job_type)
    else:
        yield False


class WandbCurves(Logger):
    """A training's curves and pictures in the W&B run of its run folder, as a section called like the kind of training.

    Where the process has a world's run open, as `python -m worldgen logger=wandb` has, it is a section of that."""

    def __init__(self, session: WandbSession, section: str) -> None:
        super().__init__()
        self._session, self._section = session, section
        self._logged_until = -1
        session.do(self._define)

    @property
    def name(self) -> str:
        return self._section

    @property
    def version(self) -> str:
        return self._session.identity.id

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._log(step or 0, dict(metrics))

    @rank_zero_only
    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """Lightning's own, of which there are none: settings are in the run's config."""

    @rank_zero_only
    def log_image(self, key: str, images: Sequence[Tensor], step: int | None = None) -> None:
        """images: [3, H, W] in [0, 1]."""
        pixels = [(rgb.detach().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy() for rgb in images]

        def draw() -> dict[str, Any]:
            import wandb

            return {key: [wandb.Image(picture) for picture in pixels]}

        self._log(step or 0, {}, draw)

    def keep(self, files: Sequence[Path], made_of: Mapping[str, Any]) -> None:
        """Has W&B keep what came of the training; copies, for a step's folder gets another name when it is whole."""
        self._session.do(lambda run: log_outputs(run, self._section, files, {"made_from": dict(made_of)}, copied=True))

    def _define(self, run: "wandb.Run") -> None:
        define_curves(run, self._section)
        before = run.summary.get(f"{self._section}/step") if run.resumed else None
        self._logged_until = int(before) if isinstance(before, int | float) else -1

    def _log(self, step: int, values: Mapping[str, Any], draw: Callable[[], Mapping[str, Any]] = dict) -> None:
        """A resumed training logs again what it logged before it was stopped, which W&B has already where it is online;
        offline each process has a file of its own."""

        def log(run: "wandb.Run") -> None:
            if step > self._logged_until:
                run.log(curve_point(self._section, step, {**values, **draw()}))

        self._session.do(log)


class StepCurves(StepCallback):
    """Logs the mean of every so many values of each of a module's `curves`, [steps]. Of others than the loss NaN counts
    as nothing: a step may have no PSNR."""

    def __init__(self, every_steps: int) -> None:
        self.every_steps = every_steps

    def on_step_end(self, trainer: Trainer, module: LightningModule, step: int) -> None:
        assert isinstance(module, LoggedModule)
        if step % self.every_steps == 0:
            span = slice(step - self.every_steps, step)
            values = {name: getattr(module, buffer)[span] for name, buffer in module.curves.items()}
            means = {name: each.mean() if name == "loss" else each.nanmean() for name, each in values.items()}
            module.log_values(step, {name: mean.item() for name, mean in means.items()})


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Without Lightning's notices about the machine, data loading and log folders; errors still show."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\.")
            yield
    finally:
        logger.setLevel(level)
