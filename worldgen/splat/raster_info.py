"""What density control and the optimiser want to know of a render: which Gaussians it drew, where they are pulled."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(eq=False)
class RasterInfo:
    """Filled in by the rasteriser.

    absolute: whether the gradient of a centre is to be summed up over its pixels without their signs; rows: int64 [D],
    the Gaussians whose box of 1/255 opacity meets the image; fetch: gives their gradients after the backward pass.
    """

    absolute: bool = False
    rows: Tensor | None = None
    fetch: Callable[[], Tensor] | None = None

    @property
    def centre_grad(self) -> Tensor:
        """[D, 2], d loss / d (x, y of the centre in pixels), of the Gaussians `rows`."""
        if self.fetch is None:
            raise RuntimeError("RasterInfo.centre_grad: wanted a backward pass through the render first")
        return self.fetch()
