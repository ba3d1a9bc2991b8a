"""Step 8, splat, as the recipe and the command line call it (paper, "3DGS" and "Trainable distortion").

The fit itself is in `fit.py`, which takes long to import and is imported when it is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from train.splat.settings import SplatResult, SplatSettings
from worldgen.models.runtime import Runtime
from worldgen.progress import Track, untracked

if TYPE_CHECKING:
    from train.splat.held_out import Metric
    from worldgen.types import Scene


_ANYWHERE = Runtime()


@dataclass(frozen=True)
class SplatOptimizer(SplatSettings):
    """Makes Gaussians from a cloud and fits them to pictures, as its settings say."""

    def import_fit(self) -> None:
        """Imports what the fit needs, so that its time counts the fit alone."""
        import train.splat.fit as _fit  # noqa: F401

    def __call__(
        self,
        scene: "Scene",
        out_dir: Path,
        track: Track = untracked,
        seed: int = 0,
        metrics: "Sequence[Metric]" = (),
        runtime: Runtime = _ANYWHERE,
    ) -> SplatResult:
        """Fits Gaussians to the scene's views, one view a step, and compares them with its held-out views.

        metrics: of the held-out views, every `evaluate_every` steps and at the end. runtime: where the fit runs, of
        which its device counts alone. Writes training curves to `out_dir` and, while it works, checkpoints to the
        folder `.checkpoints` beside it: killed and called again with the same arguments, it goes on from the last one,
        bit for bit on CPUs of one kind: another rounds float32 otherwise.
        Raises UserError where there is no point or no view to start from.
        """
        from train.splat.fit import fit_gaussians

        return fit_gaussians(self, scene, out_dir, track, seed, metrics, runtime.torch_device)
