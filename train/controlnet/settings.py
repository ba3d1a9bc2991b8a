"""What can be set of a ControlNet's training; without torch, which takes long to import."""

from dataclasses import dataclass
from pathlib import Path

from train.lightning.settings import LoggerName
from worldgen.errors import expect, expect_whole_numbers

FSDP = "fsdp"
DECIDES_NOTHING = (
    *("workers", "checkpoint_every", "validate_every", "validation_samples", "loss_every", "logger", "artifact"),
    *("strategy", "latents"),
)
"""Settings that make no other weights."""
_NO_HALVES = "bf16-mixed or 32-true with strategy=fsdp"


@dataclass(frozen=True)
class ControlNetSettings:
    """How a ControlNet is trained (paper, step 8: 5000 steps on DL3DV-10K).

    steps: of the optimiser; batch: samples at a time in each process, accumulate: such batches for a step. rate: of
    AdamW, which grows to that over `warmup` steps; weight_decay; clip_norm: of the gradient. eight_bit: AdamW's state
    in 8 bits, by bitsandbytes. ema: decay of the moving average of the weights, which is what is saved then; null =
    none. min_snr_gamma: see `diffusion.objective.Objective`. prompt_dropout: share of samples that lose their prompt.
    gradient_checkpointing: less memory, and a third more time. workers: processes that make samples. checkpoint_every,
    validate_every, loss_every: steps from one to the next; validation_samples: that are painted each time, and scored.
    artifact: whether W&B keeps the ControlNet, with logger=wandb.
    precision, devices (of each node: GPUs, or processes on CPUs), num_nodes, strategy: as Lightning's Trainer has them;
    auto = DDP where there are several processes; fsdp = each process keeps a share of the ControlNet, its average and
    AdamW's state. latents: a folder that keeps what the autoencoder makes of targets, for those that come again.
    """

    steps: int = 5000
    batch: int = 4
    accumulate: int = 1
    rate: float = 1e-5
    warmup: int = 500
    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    eight_bit: bool = False
    ema: float | None = None
    min_snr_gamma: float | None = 5.0
    prompt_dropout: float = 0.1
    gradient_checkpointing: bool = True
    workers: int = 4
    checkpoint_every: int = 250
    validate_every: int = 500
    validation_samples: int = 4
    loss_every: int = 10
    logger: LoggerName = "csv"
    artifact: bool = False
    precision: str = "32-true"
    devices: int = 1
    num_nodes: int = 1
    strategy: str = "auto"
    latents: str | None = None

    def __post_init__(self) -> None:
        expect_whole_numbers("controlnet", self)
        for name in (
            "steps",
            "batch",
            "accumulate",
            "checkpoint_every",
            "validate_every",
            "loss_every",
            "devices",
            "num_nodes",
        ):
            value = getattr(self, name)
            expect(f"controlnet.{name}", value, value >= 1, "1 or more")
        for name in ("warmup", "workers", "validation_samples"):
            value = getattr(self, name)
            expect(f"controlnet.{name}", value, value >= 0, "0 or more")
        for name in ("rate", "clip_norm"):
            value = getattr(self, name)
            expect(f"controlnet.{name}", value, value > 0, "more than 0")
        fits = self.latents is None or (isinstance(self.latents, str) and not Path(self.latents).is_file())
        expect("controlnet.latents", self.latents, fits, "a folder, or null")
        sharded = "fsdp" in str(self.strategy)
        expect("controlnet.strategy", self.strategy, self.strategy == FSDP or not sharded, "auto, ddp or fsdp")
        expect("controlnet.eight_bit", "true", not (sharded and self.eight_bit), "false with strategy=fsdp")
        expect("controlnet.precision", self.precision, not (sharded and self.precision == "16-mixed"), _NO_HALVES)
        expect("controlnet.weight_decay", self.weight_decay, self.weight_decay >= 0, "0 or more")
        expect("controlnet.ema", self.ema, self.ema is None or 0 < self.ema < 1, "between 0 and 1, or null")
        dropout = self.prompt_dropout
        expect("controlnet.prompt_dropout", dropout, 0 <= dropout <= 1, "0 to 1")
        gamma = self.min_snr_gamma
        expect("controlnet.min_snr_gamma", gamma, gamma is None or gamma > 0, "more than 0, or null")
