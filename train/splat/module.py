"""The fit of Gaussians to pictures as a Lightning module (paper, "3DGS" and "Trainable distortion").

The rates by default suit a thousand steps. A scene here reaches from arm's length to the horizon, so a Gaussian moves
in proportion to its distance from the middle of the cameras. The sky's do not move at all: they are a shell behind
everything, which can neither float nor block. There is no opacity reset.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from train.lightning.module import LoggedModule
from train.splat.corrections import Corrections
from train.splat.settings import SplatSettings, rate_share
from train.splat.view_levels import ViewFacts, ViewLevels
from train.splat.view_order import coarse_level, view_order
from worldgen.splat.adam import SelectiveAdam
from worldgen.splat.density import DensitySettings, GradientRecord, Prunable, refine
from worldgen.splat.losses import photometric_loss
from worldgen.splat.raster_info import RasterInfo
from worldgen.splat.rasterize import rasterize
from worldgen.types import Gaussians, SupervisionView

_NEAREST_M = 0.1  # what is nearer to the middle of the cameras moves as if it were that far


class SplatModule(LoggedModule):
    """The Gaussians and the corrections as parameters, and one step of their optimisation.

    What a step draws (its view, its background, its density control) follows from the seed and the step's number
    alone, so that a resumed run sees what an uninterrupted one does. sky: bool [N];
    facts: of the views; prunable: see `density.refine`. psnrs_db: [steps], of the view that a step looked at, as far as
    it counts.
    """

    middle: Tensor
    sky: Tensor
    lr_scale: Tensor
    grad_sum: Tensor
    grad_count: Tensor
    backgrounds: Tensor
    psnrs_db: Tensor

    curves: ClassVar = {"loss": "losses", "psnr_db": "psnrs_db"}
    automatic_optimization = False  # two or three optimisers, of which one is told which rows to move

    def __init__(
        self,
        start: Gaussians,
        sky: Tensor,
        views: Sequence[SupervisionView],
        facts: ViewFacts,
        settings: SplatSettings,
        seed: int,
        prunable: Prunable | None = None,
    ) -> None:
        super().__init__(settings.steps)
        self.settings, self.seed, self.prunable = settings, seed, prunable
        self.levels = ViewLevels(views, settings.coarse_levels, facts)
        self.order = view_order(facts.generated, settings.steps, seed)
        self.corrections = Corrections(settings.correction, facts.generated, seed)
        self.register_buffer("psnrs_db", torch.zeros(settings.steps))
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("backgrounds", torch.rand(settings.steps, 3, generator=generator), persistent=False)
        self.register_buffer("middle", facts.middle, persistent=False)
        self.splats = nn.ParameterDict(start.tensors())
        self.register_buffer("sky", sky)
        self.register_buffer("lr_scale", self._lr_scale())
        self.register_buffer("grad_sum", torch.zeros(len(start)))
        self.register_buffer("grad_count", torch.zeros(len(start)))

    def gaussians(self) -> Gaussians:
        """As they are now, on this module's device."""
        return Gaussians(**self.splats, antialiased=self.settings.antialiased)

    def on_fit_start(self) -> None:
        self.levels.to(self.device)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Makes room for as many Gaussians as there were."""
        super().on_load_checkpoint(checkpoint)
        saved = checkpoint["state_dict"]
        for name, parameter in list(self.splats.items()):
            self.splats[name] = nn.Parameter(torch.empty_like(saved[f"splats.{name}"], device=parameter.device))
        for name in ("sky", "lr_scale", "grad_sum", "grad_count"):
            setattr(self, name, torch.empty_like(saved[name], device=self.losses.device))

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam for the Gaussians, then one for each correction; `_move` lowers their rates from step to step."""
        s = self.settings
        rates = {
            "means": s.means_rate,
            "quats": s.quats_rate,
            "log_scales": s.log_scales_rate,
            "opacity_logits": s.opacity_rate,
            "sh": s.colour_rate,
        }
        groups = [{"params": [self.splats[name]], "lr": rate, "name": name} for name, rate in rates.items()]
        higher = torch.full(self.splats["sh"].shape[1:], s.sh_rate / s.colour_rate, device=self.device)
        higher[0] = 1
        groups[-1]["column_rates"] = higher
        optimisers = [SelectiveAdam(groups), *self.corrections.optimisers()]
        for group in (group for optimiser in optimisers for group in optimiser.param_groups):
            group["first_rate"] = group["lr"]
        return optimisers

    def training_step(self, batch: int, batch_idx: int) -> None:
        """One view: render, compare, move, and now and then add and take away. The batch counts for nothing: what is
        looked at follows from the number of the step."""
        step, settings = self.global_step, self.settings
        number, density = self.order[step], settings.density
        watched = density is not None and density.watches(step, settings.steps)
        level = self.levels.at(
            number, coarse_level(step, settings.steps, settings.coarse_levels, settings.coarse_until)
        )
        view = level.view
        absgrad = density is not None and watched and density.absgrad
        render = rasterize(self.gaussians(), view.camera, self.backgrounds[step], absgrad=absgrad)
        rgb = self.corrections(render.rgb, number)
        target = view.over(self.backgrounds[step])
        loss = photometric_loss(rgb, target, view.weight, settings.ssim_share)
        (loss + self.corrections.penalty(number)).backward()
        self.losses[step] = loss.detach()
        self.psnrs_db[step] = _psnr_db(rgb.detach(), target, view.weight)
        if watched:
            assert render.info.rows is not None  # once it is rendered
            self._record().add(render.info.rows, render.info.centre_grad, level.width, level.height)
        self._move(step, render.info)
        if density is not None and density.refines(step, settings.steps):
            self._refine(step, density)

    def _move(self, step: int, info: RasterInfo) -> None:
        """Steps every optimiser, at the rate that this step has. Only the first counts as a step of Lightning's."""
        optimisers = self._optimisers()
        decay = rate_share(self.settings.decay, self.settings.last_rate, step / self.settings.steps)
        for group in (group for optimiser in optimisers for group in optimiser.param_groups):
            group["lr"] = group["first_rate"] * decay
        optimisers[0].step(rows=info.rows, row_rates={"means": self.lr_scale})
        for other in optimisers[1:]:
            other.optimizer.step()
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)

    def _optimisers(self) -> list[LightningOptimizer]:
        """The Gaussians' first."""
        found = self.optimizers()
        return found if isinstance(found, list) else [found]

    def _lr_scale(self) -> Tensor:
        """[N], by what the rate of each Gaussian's mean is multiplied, metres: 0 for the sky."""
        distance_m = (self.splats["means"].detach() - self.middle).norm(dim=1).clamp(min=_NEAREST_M)
        return distance_m.masked_fill(self.sky, 0)

    def _record(self) -> GradientRecord:
        return GradientRecord(self.grad_sum, self.grad_count)

    def _refine(self, step: int, density: DensitySettings) -> None:
        """Density control; the record of gradients begins anew."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        distance_m = self.lr_scale.clamp(min=_NEAREST_M)  # a rate's scale is a distance, 0 for the sky
        refined = refine(self.gaussians(), self._record(), distance_m, self.sky, density, generator, self.prunable)
        parameters = {name: nn.Parameter(tensor) for name, tensor in refined.gaussians.tensors().items()}
        self.splats.update(parameters)
        adam = self._optimisers()[0].optimizer
        assert isinstance(adam, SelectiveAdam)
        adam.regroup(refined.origin, refined.fresh, [parameters[group["name"]] for group in adam.param_groups])
        self.sky = self.sky[refined.origin]
        self.lr_scale = self._lr_scale()
        self.grad_sum, self.grad_count = (torch.zeros_like(refined.origin, dtype=torch.float32) for _ in range(2))


def _psnr_db(render: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Scalar, of [3, H, W] pictures by the pixels' weight [H, W]; NaN where none counts."""
    error = (render - target).square_().sum(dim=0)
    return -10 * torch.log10((error * weight).sum() / (3 * weight.sum()))
