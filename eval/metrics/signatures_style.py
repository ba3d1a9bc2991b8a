"""A style that breaks at the photo's border, as a metric of flat panoramas: `worldgen/signatures/style_breaks.py`."""

from torch import Tensor

from eval.metrics.panorama_metric import BorderMetric
from worldgen.errors import expect
from worldgen.signatures.style_breaks import KINDS, style_breaks
from worldgen.types import Camera


class StyleBreak(BorderMetric):
    """kind: colour, contrast or texture."""

    def __init__(self, kind: str = "colour", fov_deg: float = 80.0, aspect: float = 1.3333) -> None:
        super().__init__(fov_deg, aspect)
        expect("metric.kind", kind, kind in KINDS, f"one of {', '.join(KINDS)}")
        self.kind, self.name = kind, f"style_{kind}"

    def along(self, panorama: Tensor, photo: Camera) -> float:
        return style_breaks(panorama, photo)[self.kind]
