"""A ControlNet is trained on what it will be shown, alone, and as if nobody had ever stopped it; and then completes."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

pytest.importorskip("diffusers")

from tests.controlnet_training import MODEL, SETTINGS, data, small, train
from train.controlnet import training
from train.controlnet.cli import main
from train.controlnet.module import ControlNetModule
from train.controlnet.settings import ControlNetSettings
from train.controlnet.step_batches import Place, StepBatches
from train.controlnet.training import samples_of
from train.diffusion.objective import draws
from train.lightning.checkpoints import checkpoints as checkpoints_in
from worldgen.errors import UserError
from worldgen.models.controlnet import ControlNetCompleter, condition
from worldgen.models.diffusion import DiffusionInpainter
from worldgen.models.runtime import Runtime
from worldgen.types import Prompt

KINDS = ("sd", "sdxl", "sd_text_to_image")
WEIGHTS = "diffusion_pytorch_model.safetensors"
ROOT = Path(__file__).resolve().parents[1]


def module_of(inpainter, **changes) -> ControlNetModule:
    torch.manual_seed(0)
    return ControlNetModule(inpainter, ControlNetSettings(**(SETTINGS | changes)), seed=0)


@pytest.fixture(scope="module")
def trained(checkpoints, tmp_path_factory) -> Path:
    """The folder of an SD ControlNet of six steps."""
    folder = tmp_path_factory.mktemp("trained")
    train(checkpoints["sd"], folder)
    return folder / "controlnet"


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_controlnet_says_nothing_and_fits_its_pipeline(inpainter, kind):
    module, batch = module_of(inpainter(kind), ema=None), samples_of(data(), 2, 3)
    steered = module.steered
    noisy, timesteps = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([10, 900])
    beside = torch.zeros(2, 5, 8, 8) if steered.sees_masked else None
    text, shown = steered.text(["a", "b"]), condition(batch.condition, batch.known)
    answer = steered.answer(module.network, noisy, timesteps, shown, text, beside)
    plain_input = noisy if beside is None else torch.cat([noisy, beside], dim=1)
    added = {}
    if text.pooled is not None:
        sizes = torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2)
        added = {"added_cond_kwargs": {"text_embeds": text.pooled, "time_ids": sizes}}
    alone = steered.unet(plain_input, timesteps, encoder_hidden_states=text.hidden, **added).sample
    assert torch.allclose(answer, alone, atol=1e-6)
    assert module.network.config.conditioning_channels == 4
    assert module.network.config.in_channels == 4


@pytest.mark.parametrize("kind", KINDS)
def test_steps_change_the_controlnet_alone(inpainter, kind):
    made = inpainter(kind)
    module = module_of(made, ema=None)
    names = ("unet", "vae", "text_encoder")
    before = {name: {k: v.clone() for k, v in getattr(made.pipe, name).state_dict().items()} for name in names}
    start = {name: value.clone() for name, value in module.network.state_dict().items()}
    optimiser = torch.optim.AdamW(module.network.parameters(), lr=1e-3)
    losses = []
    for number in range(2):
        loss = module.loss(samples_of(data(), 2, number))
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert all(0.2 < loss < 5 for loss in losses)
    for name in names:
        part = getattr(made.pipe, name)
        assert all(torch.equal(value, before[name][key]) for key, value in part.state_dict().items()), name
        assert all(parameter.grad is None for parameter in part.parameters()), name
    moved = [name for name, value in module.network.state_dict().items() if not torch.equal(value, start[name])]
    assert len(moved) > len(start) / 4  # the zeros first: behind them nothing moves before they do
    assert not any(name.startswith(("_plain", "steered")) for name in module.state_dict())
    trained = {name for name, parameter in module_of(made).named_parameters() if parameter.requires_grad}
    assert all(name.startswith("network.") for name in trained)  # DDP waits for gradients of all that want one


def test_the_loss_is_that_of_diffusers_own_training_script(inpainter):
    """Written out with the parts of the pipeline alone, for an inpainting network and noise that is known."""
    made = inpainter("sd", margin_px=4)
    module, batch = module_of(made, min_snr_gamma=None, prompt_dropout=0.0, ema=None), samples_of(data(), 2, 5)
    pipe, drawn = made.pipe, draws(0, batch.numbers, (4, 8, 8), 1000)
    encoded = pipe.vae.encode(2 * batch.rgb - 1).latent_dist
    latents = (encoded.mean + encoded.std * drawn.of_latents) * pipe.vae.config.scaling_factor
    kept = pipe.scheduler.alphas_cumprod[drawn.timesteps].view(2, 1, 1, 1)
    noisy = kept.sqrt() * latents + (1 - kept).sqrt() * drawn.noise
    # The holes, wider by the margin that the completer repaints round them.
    holes = F.max_pool2d((~batch.known).float()[:, None], 9, stride=1, padding=4)
    masked = pipe.vae.encode((2 * batch.condition - 1) * (1 - holes)).latent_dist
    masked = (masked.mean + masked.std * drawn.of_latents) * pipe.vae.config.scaling_factor
    tokens = pipe.tokenizer(
        ["a room", "a room"], padding="max_length", max_length=pipe.tokenizer.model_max_length, return_tensors="pt"
    )
    text = pipe.text_encoder(tokens.input_ids)[0]
    shown = torch.cat([batch.condition * batch.known[:, None], batch.known[:, None].float()], dim=1)
    down, middle = module.network(noisy, drawn.timesteps, text, controlnet_cond=shown, return_dict=False)
    entry = torch.cat([noisy, F.interpolate(holes, size=(8, 8)), masked], dim=1)
    options = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
    answer = pipe.unet(entry, drawn.timesteps, text, **options).sample
    assert module.loss(batch).item() == pytest.approx(F.mse_loss(answer, drawn.noise).item(), rel=1e-4)


def stopped_at(step: int):
    def track(items: Iterable, total: int, what: str) -> Iterator:
        for item in items:
            if item == step:
                raise RuntimeError("stop here")
            yield item

    return track


def test_stopped_and_called_again_it_ends_as_if_nothing_had_happened(checkpoints, trained, tmp_path):
    with pytest.raises(RuntimeError, match="stop here"):
        train(checkpoints["sd"], tmp_path, stopped_at(3))
    assert [path.name for path in checkpoints_in(next((tmp_path / ".checkpoints").iterdir()))] == ["step-00000002.ckpt"]
    saved = torch.load(next((tmp_path / ".checkpoints").glob("*/*.ckpt")), weights_only=True)
    kinds = {name.partition(".")[0] for name in saved["state_dict"]}
    assert kinds == {"network", "average", "losses"}
    train(checkpoints["sd"], tmp_path)
    weights, wanted = load_file(tmp_path / "controlnet" / WEIGHTS), load_file(trained / WEIGHTS)
    assert weights.keys() == wanted.keys()
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)
    curve = (tmp_path / "controlnet" / "metrics.csv").read_text()
    assert curve == (trained / "metrics.csv").read_text()
    assert [line.rpartition(",")[2] for line in curve.splitlines()] == ["step", "2", "4", "4", "6", "6"]
    assert not (tmp_path / ".checkpoints").exists()


def test_what_was_trained_completes_views(checkpoints, inpainter, trained):
    completer = ControlNetCompleter(inpainter("sd"), path=str(trained))
    completer.load(Runtime())
    batch = samples_of(data(), 2, 3)
    answers = completer(batch.condition, batch.known.float(), [Prompt("a room")] * 2, [3, 4])
    kept = F.max_pool2d((~batch.known).float()[:, None], 17, stride=1, padding=8) == 0
    difference = (answers - batch.condition).abs().where(kept, torch.zeros(()))
    assert difference.max() <= 0.5 / 255 + 1e-6
    assert (trained / "samples" / "step-00000004.png").is_file()
    assert (trained / "samples" / "step-00000006.png").is_file()


def test_a_step_of_several_batches_is_the_step_of_one(checkpoints, trained, tmp_path):
    facts = train(checkpoints["sd"], tmp_path, batch=1, accumulate=2)
    weights, wanted = load_file(tmp_path / "controlnet" / WEIGHTS), load_file(trained / WEIGHTS)
    assert facts["steps"] == 6
    for name, value in wanted.items():
        assert torch.allclose(weights[name], value, atol=3e-3), name  # Adam magnifies what rounding leaves of zeros
    losses = [float(line.split(",")[0]) for line in _curve(tmp_path / "controlnet") if line[0] != ","]
    others = [float(line.split(",")[0]) for line in _curve(trained) if line[0] != ","]
    assert losses == pytest.approx(others, rel=2e-2)


def _curve(folder: Path) -> list[str]:
    return (folder / "metrics.csv").read_text().splitlines()[1:]


def test_what_is_called_waiting_is_the_time_that_batches_take_but_for_the_first(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(training.time, "perf_counter", lambda: clock[0])

    def made():
        for seconds in (50.0, 1.0, 3.0):
            clock[0] += seconds
            yield seconds

    waiting = training.Waiting(made())
    assert waiting.share == 0
    for _ in waiting:
        clock[0] += 4  # a step, a picture, a checkpoint
    assert waiting.share == 4 / 16


def test_ranks_and_workers_share_one_order_of_samples():
    def numbers(place: Place, batch: int, accumulate: int) -> list[list[int]]:
        batches = StepBatches(data(), 3, batch, accumulate, 0, 0, lambda: place)
        return [each.numbers for each in batches]

    alone = numbers(Place(0), 4, 1)
    assert alone == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    first, second = numbers(Place(0, 0, 2), 1, 2), numbers(Place(0, 1, 2), 1, 2)
    steps = [sorted(number for batch in first[n : n + 2] + second[n : n + 2] for number in batch) for n in (0, 2, 4)]
    assert steps == alone
    assert numbers(Place(2, 1, 2), 1, 2) == second[4:]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": 0}, "controlnet.steps: 0, wanted 1 or more"),
        ({"ema": 1.5}, "controlnet.ema: 1.5, wanted between 0 and 1, or null"),
        ({"devices": 0}, "controlnet.devices: 0, wanted 1 or more"),
        ({"strategy": "fsdp_cpu_offload"}, "controlnet.strategy: fsdp_cpu_offload, wanted auto, ddp or fsdp"),
        ({"strategy": "fsdp", "eight_bit": True}, "controlnet.eight_bit: true, wanted false with strategy=fsdp"),
        ({"strategy": "fsdp", "precision": "16-mixed"}, "controlnet.precision: 16-mixed, wanted bf16-mixed or 32-true"),
        ({"prompt_dropout": 2.0}, "controlnet.prompt_dropout: 2.0, wanted 0 to 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, said):
    with pytest.raises(UserError, match=said):
        ControlNetSettings(**changes)


def test_what_cannot_be_steered_is_refused_in_one_line(checkpoints):
    made = DiffusionInpainter(MODEL, path=str(checkpoints["flux"]), steps=2)
    made.load(Runtime())
    with pytest.raises(UserError, match="FluxFillPipeline, wanted one of StableDiffusionXLInpaintPipeline"):
        module_of(made)


def test_prompts_are_dropped_at_the_given_share(inpainter):
    module = module_of(inpainter("sd"), prompt_dropout=0.25, ema=None)
    chance = draws(0, range(400), (1, 1, 1), 10).chance
    heard = module._heard(["a room"] * 400, chance)
    assert 0.18 < heard.count("") / 400 < 0.32
    assert {*heard} == {"", "a room"}


def test_the_command_trains_saves_and_keeps_what_is_done(checkpoints, tmp_path, capsys):
    assert main(small(checkpoints, tmp_path / "run")) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["steps"], told["warp"], told["seed"]) == (2, "forward_backward", 0)
    weights = tmp_path / "run" / "controlnet" / WEIGHTS
    made = weights.stat().st_mtime_ns
    assert main(small(checkpoints, tmp_path / "run", "controlnet.loss_every=5")) == 0
    assert weights.stat().st_mtime_ns == made
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == told


def test_other_weights_at_the_same_place_are_another_training(checkpoints, tmp_path, monkeypatch):
    """So that a stopped one does not go on over them."""
    asked = []
    monkeypatch.setattr(training, "train_controlnet", lambda *arguments: asked.append(arguments[3]) or {})
    base = tmp_path / "base"
    shutil.copytree(checkpoints["sd"], base)
    for number in range(3):
        if number == 2:
            shutil.copytree(checkpoints["sd_text_to_image"], base, dirs_exist_ok=True)
        arguments = [*small(checkpoints, tmp_path / str(number)), f"inpainter.path={base}"]
        assert main([each for each in arguments if each != f"inpainter.path={checkpoints['sd']}"]) == 0
    assert asked[0] == asked[1] != asked[2]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["data.size=60"], "error: data.size: 60, wanted a multiple of 16"),
        (["inpainter=migan"], "error: inpainter: MiganInpainter, wanted a diffusion inpainter"),
        (["controlnet.stepps=3"], "error: controlnet.stepps: no such key, did you mean controlnet.steps?"),
        (["inpainter.path=/nowhere"], "/nowhere"),
    ],
)
def test_a_mistake_ends_in_one_line(checkpoints, tmp_path, capsys, more, said):
    arguments = small(checkpoints, tmp_path / "run", *more)
    if more == ["inpainter=migan"]:
        arguments = [each for each in arguments if not each.startswith("inpainter.") and each != "inpainter=sd15"]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def begun(checkpoints, out: Path, *more: str) -> subprocess.Popen:
    """The command, in processes of its own."""
    command = [sys.executable, "-m", "train.controlnet", *small(checkpoints, out), "controlnet.loss_every=1", *more]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def losses_of(checkpoints, out: Path, *more: str) -> list[float]:
    """The curve of a training that comes to its end."""
    with begun(checkpoints, out, *more) as process:
        said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return [float(line.split(",")[0]) for line in _curve(out / "controlnet")]


@pytest.mark.slow
def test_two_processes_train_what_one_does(checkpoints, tmp_path):
    """By gloo, on CPUs: the same samples in the same steps, so the same curve but for rounding."""
    steps = ("controlnet.steps=4", "controlnet.ema=0.5")
    alone = losses_of(checkpoints, tmp_path / "alone", *steps, "controlnet.batch=2")
    together = losses_of(checkpoints, tmp_path / "together", *steps, "controlnet.batch=1", "controlnet.devices=2")
    assert len(alone) == 4
    assert together == pytest.approx(alone, rel=1e-3)


@pytest.mark.slow
def test_two_processes_with_a_share_each_train_what_two_whole_ones_do(checkpoints, tmp_path, inpainter):
    """Stopped and called again, too; what they save is whole."""
    settings = ("controlnet.steps=8", "controlnet.ema=0.5", "controlnet.rate=1e-3", "controlnet.devices=2")
    shared = (*settings, "controlnet.strategy=fsdp", "controlnet.checkpoint_every=1")
    wanted = losses_of(checkpoints, tmp_path / "ddp", *settings)
    assert losses_of(checkpoints, tmp_path / "fsdp", *shared) == pytest.approx(wanted, rel=1e-5)
    with begun(checkpoints, tmp_path / "cut", *shared) as process:
        until = time.monotonic() + 200
        while not list(tmp_path.glob("cut/.checkpoints/*/step-*")) and time.monotonic() < until:
            time.sleep(0.02)
        process.terminate()
        said, _ = process.communicate(timeout=100)
    assert process.returncode == 128 + signal.SIGTERM, said
    newest = checkpoints_in(next((tmp_path / "cut" / ".checkpoints").iterdir()))[0]
    saved = torch.load(newest, weights_only=True)["state_dict"]
    losses_of(checkpoints, tmp_path / "cut", *shared)
    ddp, fsdp, cut = (load_file(tmp_path / name / "controlnet" / WEIGHTS) for name in ("ddp", "fsdp", "cut"))
    assert ddp.keys() == fsdp.keys() == cut.keys()
    assert {name for name in saved if name.startswith("network.")} == {f"network.{name}" for name in ddp}
    for name, value in ddp.items():
        assert saved[f"network.{name}"].shape == saved[f"average.module.{name}"].shape == value.shape
        assert torch.allclose(fsdp[name], value, atol=1e-5), name
        assert torch.equal(cut[name], fsdp[name]), name
    assert (tmp_path / "cut/controlnet/config.json").read_text() == (
        tmp_path / "ddp/controlnet/config.json"
    ).read_text()
    ControlNetCompleter(inpainter("sd"), path=str(tmp_path / "cut" / "controlnet")).load(Runtime())


@pytest.mark.slow
def test_killed_again_and_again_it_loses_one_interval_at_most():
    command = [sys.executable, "-m", "tests.killed_training", "--kills", "8"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["kills"] == 8
