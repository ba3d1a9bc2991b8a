"""What the recipe asks of whatever may be exchanged: networks, and the rules that stand in for them.

Adapters fulfil these, configs pick adapters, and `conformance.py` holds an adapter to them. Pictures are float32 sRGB
in [0, 1]; H, W: pixels; B: views in one call. Nothing heavy is imported here, so that settings can be checked at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from worldgen.progress import Track, untracked

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from worldgen.io.photo import Photo
    from worldgen.models.hub import HubWeights
    from worldgen.models.hub_file import HubFile
    from worldgen.models.runtime import Runtime
    from worldgen.types import (
        Camera,
        CompletedView,
        DistanceMap,
        Fov,
        IncompleteView,
        Panorama,
        PointCloud,
        PosedDepth,
        Prompt,
        Prompts,
        View,
        ViewDepth,
    )

REPAINTED_PX = 8
"""So near to a hole an inpainter may change known pixels, too: what it thinks of them tells how its colours are off."""


class Lifetime(Protocol):
    """Every adapter is loaded when the first step that needs it begins and released when the last one ends."""

    def load(self, runtime: Runtime) -> None:
        """Makes it ready to be called, where `runtime` says. Fetches nothing; a second call does nothing."""
        ...

    def release(self) -> None:
        """Frees the memory that it holds. It may be loaded again."""
        ...


class Adapter:
    """For adapters that hold nothing in memory."""

    def load(self, runtime: Runtime) -> None:
        """Nothing to load."""

    def release(self) -> None:
        """Nothing to free."""


class Composite(ABC):
    """For adapters that are made of others: those are loaded and released with it."""

    @abstractmethod
    def parts(self) -> Sequence[Lifetime]:
        """The adapters that it is made of."""

    def load(self, runtime: Runtime) -> None:
        """Loads what it is made of."""
        for part in self.parts():
            part.load(runtime)

    def release(self) -> None:
        """Releases what it is made of."""
        for part in self.parts():
            part.release()


@runtime_checkable
class FromHub(Protocol):
    """An adapter whose weights are the hub's."""

    @property
    def weights(self) -> Sequence[HubWeights | HubFile]:
        """The repositories, and single files of some, that it loads; the main one first."""
        ...

    def unavailable(self) -> str | None:
        """Why it cannot be loaded, in one line; None where it can."""
        ...


class FovEstimator(Lifetime, Protocol):
    """Finds a photo's field of view (paper, step 1)."""

    def __call__(self, photo: Photo) -> Fov:
        """The horizontal field of view of the upright photo, within `geometry.fov_range`."""
        ...


class Prompter(Lifetime, Protocol):
    """Says what a scene is (paper, "Prompts")."""

    def __call__(self, rgb: Tensor) -> Prompts:
        """rgb [3, H, W] -> prompts, none of them empty. Of a given panorama: four square views, side by side."""
        ...


class Inpainting(Protocol):
    """What an inpainter does."""

    def __call__(self, rgb: Tensor, known: Tensor, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Tensor:
        """rgb [B, 3, H, W], known [B, H, W] float in [0, 1], B prompts and B seeds -> [B, 3, H, W].

        known: 1 = keep, 0 = paint, between = a soft border. What lies in `rgb` where known is 0 is ignored. Known
        pixels come back as they were, to half a step of 8 bits, but for those within REPAINTED_PX of one that is not.
        The answer's values are multiples of 1/255: it is kept as an 8-bit PNG and must come back the same. The same
        seed gives the same picture, whatever else is in the batch.
        """
        ...


class Inpainter(Lifetime, Inpainting, Protocol):
    """Fills what is unknown in pictures."""


class RoundInpainter(Inpainter, Protocol):
    """An inpainter that can be told that a picture is a whole panorama; ad-hoc uses `around` where there is one."""

    @property
    def around(self) -> Inpainting | None:
        """Does the same to panoramas, of which the left and right edge meet; None: it cannot, as it is set."""
        ...


class ImageToImage(Lifetime, Protocol):
    """Paints pictures anew, near to what they are (paper, "Refinement")."""

    def __call__(self, rgb: Tensor, prompts: Sequence[Prompt], seeds: Sequence[int], strength: float) -> Tensor:
        """rgb [B, 3, H, W], B prompts and B seeds -> [B, 3, H, W], multiples of 1/255.

        strength: in (0, 1], the last part of the denoising that is done (paper: 0.3).
        """
        ...


class Refiner(Lifetime, Protocol):
    """Adds detail to a panorama (paper, "Refinement")."""

    def __call__(
        self, panorama: Panorama, prompts: Prompts, views: Path, track: Track = untracked, seed: int = 0
    ) -> Panorama | None:
        """The panorama with new detail outside the photo; None: it stays as it is.

        views: a folder for what is painted on the way, where a killed attempt may have left some.
        """
        ...


class DepthEstimator(Lifetime, Protocol):
    """Estimates the depth of one perspective view."""

    def __call__(self, rgb: Tensor, camera: Camera) -> ViewDepth:
        """rgb [3, H, W], and the camera that saw it, H x W too -> zdepth [H, W] and where it is valid.

        In metres, or up to one common scale for networks that give the shape alone. Networks that answer inf outside
        their mask mark those pixels as invalid; nobody looks at an invalid pixel's depth.
        """
        ...


class PoseEstimator(Lifetime, Protocol):
    """Finds out where frames of one scene were taken, and the depth of what they show."""

    def __call__(self, rgb: Tensor) -> Sequence[PosedDepth]:
        """rgb [N, 3, H, W] of one still scene, in the order that they were taken in -> N cameras of H x W pixels.

        The world and its unit are any, the same for all N, poses and depths alike.
        """
        ...


class PanoramaDepth(Lifetime, Protocol):
    """Estimates the distances of a whole panorama."""

    def __call__(self, panorama: Panorama, prompts: Prompts, track: Track = untracked) -> DistanceMap:
        """Of every pixel of the panorama: metres along its ray, finite, > 0; and where the sky is."""
        ...


class ViewCompleter(Lifetime, Protocol):
    """Paints what a known part of the world does not show of a view (paper, "Point-cloud-conditioned inpainting")."""

    def begin(self, cloud: PointCloud, prompts: Prompts) -> CompleteViews:
        """Takes in a scene: all points that its origin sees, and what it is. Gives what completes views of it."""
        ...


class CompleteViews(Protocol):
    """Completes views of one scene."""

    def __call__(
        self, views: Sequence[IncompleteView], prompts: Sequence[Prompt], seeds: Sequence[int]
    ) -> Sequence[CompletedView]:
        """B views of one size, rendered of the points so far, B prompts and B seeds -> B views.

        Of each answer `rgb` is a whole picture: what was unknown is painted, be it in holes or in pinholes. `known` is
        what was known before, its pixels as they were, and all that is to become points.
        `inpainted` lies within the holes and within `known`; where it is empty, as it has to be where there are no
        holes, no picture is kept. `distance`: of all known pixels, metres; None = the recipe asks its depth estimator,
        and makes it agree with what was known. The same seed gives the same picture, whatever else is in the batch.
        """
        ...


class Prefilled(NamedTuple):
    """rgb: the panorama filled, [3, H, W], its own pixels unchanged; known: bool [H, W], the inpainter gets the rest.

    guesses: what the photo was taken for, and how surely, by what was decided; in words, for the report.
    """

    rgb: Tensor
    known: Tensor
    guesses: Mapping[str, str]


class Prefill(Protocol):
    """Optional in panorama synthesis, for inpainters that close gaps and know no world: says what else is there."""

    def __call__(self, photo: View, rgb: Tensor, own: Tensor, indoor: bool, seed: int) -> Prefilled:
        """photo: the view at +z; rgb [3, H, W]: the panorama, there where `own`, bool [H, W], is True."""
        ...


class Finish(Protocol):
    """Optional at the end of panorama synthesis."""

    def __call__(self, rgb: Tensor, painted: Tensor) -> Tensor:
        """rgb [3, H, W] -> [3, H, W] in [0, 1], changed only where `painted`, bool [H, W]."""
        ...


class StyleMatch(Protocol):
    """Optional in panorama synthesis, after each inpainted view."""

    def __call__(self, painted: Tensor, invented: Tensor, photo: Tensor, own: Tensor) -> Tensor:
        """painted: [3, h, w] in [0, 1] -> the same, changed only where `invented`, bool [h, w], is True.

        photo: [3, h, w], the photo in a view of as many pixels to a degree, there where `own`, bool [h, w], is True.
        """
        ...
