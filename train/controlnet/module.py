"""The training of a ControlNet on points that were warped (paper, step 8) as a Lightning module."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from train.controlnet.settings import ControlNetSettings
from train.controlnet.steered import SteeredNetworks
from train.data.pairs import ConditionedBatch
from train.diffusion.kept_latents import KeptLatents
from train.diffusion.latents import seen
from train.diffusion.objective import Objective, draws
from train.lightning.module import LoggedModule
from train.lightning.sharded import shard, whole_weights
from worldgen.errors import UserError
from worldgen.models.controlnet import condition
from worldgen.models.diffusion import DiffusionInpainter
from worldgen.paths import user_path


class ControlNetModule(LoggedModule):
    """A ControlNet, its moving average, and one step of their optimisation; the networks that it steers are no part of
    its state, so checkpoints hold none of them.

    What a step draws follows from the seed and the numbers of its samples. inpainter: loaded, whose pipeline it steers.
    """

    def __init__(self, inpainter: DiffusionInpainter, settings: ControlNetSettings, seed: int) -> None:
        """Raises UserError where the inpainter cannot be steered."""
        super().__init__(settings.steps)
        self.settings, self.seed = settings, seed
        self._plain = (inpainter, SteeredNetworks(inpainter.pipe))  # a tuple: torch would take modules for its own
        self.objective = Objective(inpainter.pipe.scheduler, settings.min_snr_gamma)
        self.latents = KeptLatents(self.steered.vae, user_path(settings.latents) if settings.latents else None)
        self.network = self.steered.new_controlnet()
        average = get_ema_multi_avg_fn(settings.ema) if settings.ema else None
        self.average = AveragedModel(self.network, multi_avg_fn=average) if average else None
        if self.average is not None:
            self.average.requires_grad_(False)  # or DDP waits for its gradients
        if settings.gradient_checkpointing:
            self.network.enable_gradient_checkpointing()
            self.steered.save_memory()

    @property
    def inpainter(self) -> DiffusionInpainter:
        return self._plain[0]

    @property
    def steered(self) -> SteeredNetworks:
        return self._plain[1]

    @property
    def result(self) -> Any:
        """The ControlNet that the training comes to: the moving average, if there is one."""
        return self.network if self.average is None else self.average.module

    def configure_model(self) -> None:
        """With strategy=fsdp each process has its share of the ControlNet and of its average."""
        if self.device_mesh is not None:
            networks: list[Any] = [self.network] if self.average is None else [self.network, self.average.module]
            for network in networks:
                shard(network, [*network.down_blocks, network.mid_block], self.device_mesh)

    def whole_result(self) -> Any:
        """`result`, put together where it is in shares: then None in all processes but the first. To be called by all
        of them."""
        weights = whole_weights(self.result)
        return self.result if weights is None else self.steered.controlnet_of(self.result.config, weights)

    def on_fit_start(self) -> None:
        self.steered.to(self.device)

    def transfer_batch_to_device(self, batch: ConditionedBatch, device: torch.device, _: int) -> ConditionedBatch:
        return batch.to(device)

    def training_step(self, batch: ConditionedBatch, batch_idx: int) -> Tensor:
        """One batch's loss; its part of the step's is noted."""
        loss = self.loss(batch)
        noted = self.trainer.strategy.reduce(loss.detach().float(), reduce_op="mean")
        assert isinstance(noted, Tensor)
        self.losses[self.global_step] += noted / self.settings.accumulate
        return loss

    def loss(self, batch: ConditionedBatch) -> Tensor:
        """[]: how far the steered answer is from what it should be."""
        steered, size = self.steered, batch.rgb.shape[-1] // self.steered.factor
        drawn = draws(self.seed, batch.numbers, (steered.latents, size, size), self.objective.timesteps)
        drawn = drawn.to(batch.rgb.device)
        latents = self.latents(batch.rgb, drawn.of_latents)
        answer = steered.answer(
            self.network,
            self.objective.noisy(latents, drawn),
            drawn.timesteps,
            condition(batch.condition, batch.known),
            steered.text(self._heard(batch.prompts, drawn.chance)),
            self._beside(batch, drawn.of_latents) if steered.sees_masked else None,
        )
        return self.objective.loss(answer, latents, drawn)

    def configure_optimizers(self) -> Any:
        """AdamW, whose rate grows in a line at first."""
        s = self.settings
        kind = _adam_of_eight_bits() if s.eight_bit else torch.optim.AdamW
        optimiser = kind(self.network.parameters(), lr=s.rate, weight_decay=s.weight_decay)
        grown = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(1.0, (step + 1) / max(1, s.warmup)))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": grown, "interval": "step"}}

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        """Moves the average after the weights."""
        super().optimizer_step(*arguments, **options)
        if self.average is not None:
            self.average.update_parameters(self.network)

    def _heard(self, prompts: Sequence[str], chance: Tensor) -> list[str]:
        dropped = (chance < self.settings.prompt_dropout).tolist()
        return ["" if gone else prompt for prompt, gone in zip(prompts, dropped, strict=True)]

    def _beside(self, batch: ConditionedBatch, noise: Tensor) -> Tensor:
        """What the completer gives an inpainting UNet: the points' picture, less the margin round its holes."""
        shown = torch.stack([self.inpainter.shown(known.float()) for known in batch.known])
        return seen(self.steered.vae, batch.condition, 1 - shown, noise)


def _adam_of_eight_bits() -> Any:
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise UserError("controlnet.eight_bit: no bitsandbytes here, wanted it: pip install bitsandbytes") from error
    return AdamW8bit


def parameters_of(network: nn.Module) -> int:
    """How many numbers a network has."""
    return sum(parameter.numel() for parameter in network.parameters())
