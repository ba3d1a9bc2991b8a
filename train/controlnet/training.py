"""One ControlNet, from data and an inpainter to a folder that `completer=controlnet completer.path=<it>` takes."""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback

from train.controlnet.module import ControlNetModule, parameters_of
from train.controlnet.samples import PaintedSamples
from train.controlnet.settings import FSDP, ControlNetSettings
from train.controlnet.step_batches import Place, StepBatches
from train.data.pair_batches import Batches
from train.data.pairs import ConditionedBatch, ConditionedData
from train.lightning.loggers import WandbCurves, logging_to, quiet_lightning
from train.lightning.settings import TrainingSettings
from train.lightning.sharded import ShardedStrategy
from train.lightning.trainer import drop_checkpoints, is_first, train_module
from worldgen.errors import expect
from worldgen.models.diffusion import DiffusionInpainter
from worldgen.models.pipelines import size_factor
from worldgen.models.runtime import Runtime
from worldgen.progress import Track

SAMPLES_DIR = "samples"
_VERSION = 1  # raised when the same settings come to train something else
_APART = 1  # added to the seed for the samples that are looked at


def train_controlnet(
    settings: ControlNetSettings,
    data: ConditionedData,
    inpainter: DiffusionInpainter,
    made_of: Mapping[str, Any],
    out_dir: Path,
    runtime: Runtime,
    track: Track,
    seed: int,
) -> dict[str, Any]:
    """Trains, or goes on, and saves the ControlNet in diffusers' layout in `out_dir`; returns facts.

    made_of: the config that decides what comes of it, for the identity of checkpoints. Other processes of the same
    training only train, and return nothing. Raises UserError where data, inpainter or checkpoints do not serve.
    """
    began = time.perf_counter()
    _take_own_gpu(runtime)
    inpainter.load(replace(runtime, batch=max(1, settings.validation_samples)))
    factor = size_factor(inpainter.pipe)
    expect("data.size", data.size, data.size % factor == 0, f"a multiple of {factor}, for {inpainter.named}")
    torch.manual_seed(seed)
    module = ControlNetModule(inpainter, settings, seed)
    batches = StepBatches(
        data, settings.steps, settings.batch, settings.accumulate, settings.workers, seed, lambda: _place(module)
    )
    waiting = Waiting(batches)
    callbacks: list[Callback] = []
    if settings.validation_samples:
        shown = samples_of(data, settings.validation_samples, seed + _APART)
        callbacks.append(PaintedSamples(shown, settings.validate_every, out_dir / SAMPLES_DIR, seed))
    identity, curves = identity_of(settings, made_of, seed), settings.logger if is_first() else "none"
    told = {**made_of, "controlnet": asdict(settings), "seed": seed}
    with quiet_lightning(), logging_to(curves, out_dir, identity, told, "controlnet") as logger:
        train_module(module, waiting, _training(settings, runtime), out_dir, identity, logger, track, callbacks)
        waited, result = waiting.share, module.whole_result()
        if not is_first():
            return {}
        result.save_pretrained(out_dir)
        if settings.artifact and isinstance(logger, WandbCurves):
            logger.keep(sorted([*out_dir.glob("*.json"), *out_dir.glob("*.safetensors")]), made_of)
    drop_checkpoints(out_dir)
    return {
        "steps": settings.steps,
        "parameters": parameters_of(result),
        "loss_first": _mean(module.losses[: settings.loss_every]),
        "loss_last": _mean(module.losses[-settings.loss_every :]),
        **_last_scores(module),
        "waiting_share": waited,
        **({"latents_found": module.latents.found, "latents_made": module.latents.made} if settings.latents else {}),
        "seconds": round(time.perf_counter() - began, 1),
    }


def samples_of(data: ConditionedData, count: int, seed: int) -> ConditionedBatch:
    """The first so many samples of a seed."""
    return next(iter(Batches(data(count, seed), range(count), count)))


def identity_of(settings: ControlNetSettings, made_of: Mapping[str, Any], seed: int) -> str:
    """16 hex digits, equal where the same weights come of it: a checkpoint serves no other training."""
    telling = replace(
        settings,
        logger="none",
        artifact=False,
        workers=0,
        checkpoint_every=1,
        validate_every=1,
        validation_samples=0,
        strategy="auto",
        latents=None,
    )
    said = json.dumps([_VERSION, asdict(telling), made_of, seed], sort_keys=True, default=str)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


class Waiting:
    """Batches, and how much of the time went by while nothing but the next one was waited for."""

    def __init__(self, batches: Iterable[ConditionedBatch]) -> None:
        self._batches, self._waited_s = batches, 0.0
        self._since: float | None = None  # the first batch came, whose wait is that for workers to start

    @property
    def share(self) -> float:
        """Of the time since the first batch came."""
        if self._since is None:
            return 0.0
        return round(self._waited_s / max(1e-9, time.perf_counter() - self._since), 4)

    def __iter__(self) -> Iterator[ConditionedBatch]:
        batches = iter(self._batches)
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            came = time.perf_counter()
            if self._since is None:
                self._since = came
            else:
                self._waited_s += came - asked
            yield batch


def _training(settings: ControlNetSettings, runtime: Runtime) -> TrainingSettings:
    processes = settings.devices * settings.num_nodes
    trainer: dict[str, Any] = {
        "accelerator": "cpu" if runtime.torch_device.type == "cpu" else "gpu",
        "accumulate_grad_batches": settings.accumulate,
        "gradient_clip_val": settings.clip_norm,
        **{name: getattr(settings, name) for name in ("precision", "devices", "num_nodes")},
        "strategy": ShardedStrategy(processes) if settings.strategy == FSDP else settings.strategy,
    }
    what = "training a ControlNet"
    return TrainingSettings(settings.steps, what, settings.checkpoint_every, settings.loss_every, trainer)


def _take_own_gpu(runtime: Runtime) -> None:
    """Each process of a node loads onto a GPU of its own."""
    if runtime.torch_device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0"))))


def _place(module: ControlNetModule) -> Place:
    return Place(module.global_step, module.trainer.global_rank, module.trainer.world_size)


def _last_scores(module: ControlNetModule) -> dict[str, float]:
    """The last PSNR of the samples that were looked at; none where none were."""
    found: Sequence[dict[str, float]] = [values for _, values in module.history if "psnr/all" in values]
    return {f"psnr_{name.removeprefix('psnr/')}": round(value, 3) for name, value in (found or [{}])[-1].items()}


def _mean(losses: torch.Tensor) -> float:
    return round(losses.mean().item(), 5)
