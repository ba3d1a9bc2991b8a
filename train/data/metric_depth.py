"""The depth of single views in metres, as step 5 has it, for those who make data of it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor

from worldgen.errors import UserError
from worldgen.geometry.alignment import quantile_scale
from worldgen.models.protocols import DepthEstimator, FromHub, Lifetime
from worldgen.models.runtime import Runtime
from worldgen.types import Camera, ViewDepth


class NetworkFailedError(Exception):
    """A network is not here, or cannot run: no fault of any picture or scene. One line, for a person."""


@contextmanager
def network_errors() -> Iterator[None]:
    """What a network says that it cannot do within is raised as NetworkFailedError."""
    try:
        yield
    except UserError as error:
        raise NetworkFailedError(str(error)) from error


@dataclass
class MetricDepth:
    """The depth of single views in metres, as step 5 has it: `shape` alone, or scaled by `metric` (paper, "Metric
    depth"). It raises NetworkFailedError where a network says that it cannot go on."""

    shape: DepthEstimator
    metric: DepthEstimator | None
    runtime: Runtime

    @property
    def name(self) -> str:
        """Of its networks, for a person."""
        return " scaled by ".join(str(getattr(part, "named", type(part).__name__)) for part in self._parts())

    def expect_here(self) -> None:
        """Raises NetworkFailedError where one of its networks says, unloaded, that it is not here."""
        for part in self._parts():
            if isinstance(part, FromHub) and (why := part.unavailable()):
                raise NetworkFailedError(why)

    def load(self) -> None:
        """Makes it ready; a second call does nothing."""
        with network_errors():
            for part in self._parts():
                part.load(self.runtime)

    def release(self) -> None:
        """Frees the networks' memory."""
        for part in self._parts():
            part.release()

    def __call__(self, rgb: Tensor, camera: Camera) -> ViewDepth:
        """rgb [3, H, W] and its camera -> zdepth [H, W] in metres, and where it is valid."""
        with network_errors():
            shape = self.shape(rgb, camera)
            metric = None if self.metric is None else self.metric(rgb, camera)
        if metric is None:
            return shape
        both = shape.valid & metric.valid
        if not bool(both.any()):
            return ViewDepth(shape.zdepth, both)
        try:
            scale = quantile_scale(shape.zdepth[both], metric.zdepth[both])
        except ValueError:  # it is flat
            scale = float((metric.zdepth[both] / shape.zdepth[both]).median())
        return ViewDepth(shape.zdepth * scale, shape.valid)

    def _parts(self) -> Sequence[Lifetime]:
        return [part for part in (self.shape, self.metric) if part is not None]
