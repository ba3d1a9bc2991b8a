"""Pipelines of the hub: loaded whole, run as they are told to, and refused in one line."""

import json
import shutil
from hashlib import sha256

import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("peft")

from tests.tiny_checkpoints import MODEL
from tests.tiny_diffusion import apart, views
from worldgen.errors import UserError
from worldgen.models import pipeline_parts
from worldgen.models.diffusion import DiffusionInpainter
from worldgen.models.pipelines import denoiser
from worldgen.models.runtime import Runtime
from worldgen.types import Prompt


@pytest.mark.parametrize("name", ["sdxl", "flux"])
def test_weights_of_another_dtype(inpainter, name):
    adapter = inpainter(name, runtime=Runtime(dtype="bfloat16"))
    assert denoiser(adapter.pipe).dtype == adapter.pipe.vae.dtype == adapter.pipe.text_encoder_2.dtype == torch.bfloat16
    painted = adapter(*views(2))
    assert painted.dtype == torch.float32
    assert painted.isfinite().all()


@pytest.mark.parametrize("offload", ["model", "sequential"])
def test_offload_wants_a_gpu(inpainter, offload):
    wanted = f"runtime.offload: {offload}, wanted none \\(networks run on a CPU here\\)$"
    with pytest.raises(UserError, match=wanted):
        inpainter(runtime=Runtime(device="cpu", offload=offload))


def test_layers_that_wait_are_accelerates_matter(monkeypatch):
    """Without a GPU it cannot send them anywhere: what is asked of it is all that can be looked at."""

    class Gpu:
        offload, torch_device = "sequential", torch.device("cuda")

    class Pipe:
        def enable_sequential_cpu_offload(self, device):
            asked.append(("all", device))

    asked, network = [], torch.nn.Linear(2, 2)
    monkeypatch.setattr("accelerate.cpu_offload", lambda *given: asked.append(given))
    pipeline_parts.place(Pipe(), Gpu())
    pipeline_parts.place(Pipe(), Gpu(), network)
    assert asked == [("all", Gpu.torch_device), (network, Gpu.torch_device)]


def test_networks_that_wait_for_their_turn_answer_the_same(inpainter, monkeypatch):
    """With the processor in a GPU's place, which diffusers allows."""
    expected = inpainter()(*views(2))
    monkeypatch.setattr(pipeline_parts, "expect", lambda *_: None)
    waiting = inpainter(runtime=Runtime(device="cpu", offload="model"))
    assert hasattr(waiting.pipe.unet, "_hf_hook")
    assert apart(waiting(*views(2)), expected) <= 1
    assert apart(waiting(*views(2)), expected) <= 1


def test_loras_change_what_is_painted_by_their_scale(inpainter, checkpoints):
    lora = {"model": str(checkpoints["lora"].parent), "file": checkpoints["lora"].name}
    plain = inpainter()(*views(1))
    assert apart(inpainter(loras=[lora])(*views(1)), plain) > 5
    assert apart(inpainter(loras=[lora | {"scale": 0.0}])(*views(1)), plain) <= 1


def test_a_run_remembers_which_loras_it_had(checkpoints):
    lora = {"model": str(checkpoints["lora"].parent), "file": checkpoints["lora"].name}
    versions = DiffusionInpainter(MODEL, path=str(checkpoints["sdxl"]), loras=[lora]).versions()
    assert versions["model"] == checkpoints["sdxl"].name
    assert versions["loras.0.model"] == checkpoints["lora"].name
    assert versions["loras.0.sha256"] == sha256(checkpoints["lora"].read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file": "missing.safetensors"}, r"inpainter\.loras\.0\.model: .*: no missing\.safetensors there"),
        (
            {"model": "some/body"},
            r"some/body: .* is not in .* cache; inpainter\.download=true .* inpainter\.loras\.0\.model=<file>",
        ),
        ({"weight": 1}, r"inpainter\.loras\.0: .* wanted model, file and perhaps scale"),
    ],
)
def test_loras_that_are_not_there_are_named(inpainter, checkpoints, change, message):
    lora = {"model": str(checkpoints["lora"].parent), "file": checkpoints["lora"].name} | change
    with pytest.raises(UserError, match=message) as caught:
        inpainter(loras=[lora])
    assert "\n" not in str(caught.value)


def test_a_lora_for_another_network_is_found(inpainter, checkpoints):
    lora = {"model": str(checkpoints["lora"].parent), "file": checkpoints["lora"].name}
    for name in ("sd", "flux"):
        with pytest.raises(UserError, match=r"inpainter\.loras\.0: .*pytorch_lora_weights\.safetensors.*") as caught:
            inpainter(name, loras=[lora])
        assert "\n" not in str(caught.value)


def test_a_scheduler_by_its_name(inpainter):
    chosen = inpainter(scheduler="DPMSolverMultistepScheduler", scheduler_options={"use_karras_sigmas": True})
    assert type(chosen.pipe.scheduler).__name__ == "DPMSolverMultistepScheduler"
    assert chosen.pipe.scheduler.config.use_karras_sigmas is True
    assert chosen.pipe.scheduler.config.beta_start == inpainter().pipe.scheduler.config.beta_start
    assert apart(chosen(*views(1)), inpainter()(*views(1))) > 5
    rgb, known, prompts, seeds = views()
    for name in ("EulerAncestralDiscreteScheduler", "LCMScheduler"):  # they draw at every step
        drawn = inpainter(scheduler=name, runtime=Runtime(batch=3))
        last = drawn(rgb[2:], known[2:], prompts[2:], seeds[2:])
        assert apart(drawn(rgb, known, prompts, seeds)[2:], last) <= 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scheduler": "DPMSolverMultistep"}, "inpainter.scheduler: DPMSolverMultistep, .*did you mean DPMSolverMulti"),
        ({"scheduler": "DDIM"}, "inpainter.scheduler: DDIM, .*did you mean DDIMScheduler"),
        ({"scheduler_options": {"karras": 1}}, "inpainter.scheduler_options.karras: 1, wanted an option that Euler"),
        ({"options": {"colour": 1}}, "inpainter.options.colour: 1, wanted an option that StableDiffusionXLInpaint"),
    ],
)
def test_what_a_pipeline_does_not_take_is_named(inpainter, settings, message):
    with pytest.raises(UserError, match=message):
        inpainter(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "inpainter.steps: 0, wanted a whole number from 1"),
        ({"strength": 0}, "inpainter.strength: 0, wanted more than 0 and at most 1"),
        ({"margin_px": 9}, "inpainter.margin_px: 9, wanted 0 to 8"),
        ({"guidance": -1}, "inpainter.guidance: -1, wanted 0 or more"),
    ],
)
def test_wrong_settings_cost_no_time(settings, message):
    with pytest.raises(UserError, match=message):
        DiffusionInpainter(MODEL, **settings)


def test_some_are_told_no_negatives_and_some_no_circles(inpainter):
    with pytest.raises(UserError, match=r'inpainter\.negative_prompt: people, wanted "": FluxFillPipeline takes none'):
        inpainter("flux", negative_prompt="people")
    with pytest.raises(UserError, match=r"inpainter\.circular: True, wanted false: ZImageInpaintPipeline cannot wrap"):
        inpainter("z_image", circular=True)


def test_checkpoints_of_another_kind_are_named(inpainter, refiner, checkpoints, tmp_path):
    with pytest.raises(UserError, match=r"refine.model: a network of 9 channels, wanted 4: a text-to-image checkpoint"):
        refiner("sdxl").load(Runtime())
    one_network = DiffusionInpainter(MODEL, path=str(checkpoints["sdxl"] / "unet"))
    with pytest.raises(UserError, match=r"no model_index\.json in it, wanted a pipeline of diffusers"):
        one_network.load(Runtime())
    for name, message in (
        ("NobodysPipeline", r"NobodysPipeline, wanted a pipeline that diffusers .* has"),
        ("StableVideoDiffusionPipeline", r"cannot be loaded: AutoPipeline can't find a pipeline"),
    ):
        folder = tmp_path / name
        shutil.copytree(checkpoints["sdxl"], folder)
        index = json.loads((folder / "model_index.json").read_text()) | {"_class_name": name}
        (folder / "model_index.json").write_text(json.dumps(index))
        with pytest.raises(UserError, match=message) as caught:
            DiffusionInpainter(MODEL, path=str(folder)).load(Runtime())
        assert "\n" not in str(caught.value)


def test_a_folder_cut_short_is_named(checkpoints, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "short"
    shutil.copytree(checkpoints["sdxl"], folder)
    adapter = DiffusionInpainter(MODEL, path=str(folder))
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(weights)
    del state["conv_out.weight"]
    save_file(state, weights)
    with pytest.raises(UserError, match=r"unet: conv_out\.weight missing among the weights"):
        adapter.load(Runtime())
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"inpainter: .*short: cannot be loaded: ") as caught:
        adapter.load(Runtime())
    assert "\n" not in str(caught.value)
    shutil.rmtree(folder / "vae")
    with pytest.raises(UserError, match=r"inpainter\.path: .*short: no vae/ in it, wanted owner/name"):
        adapter.load(Runtime())


def test_what_is_not_here_says_how_to_get_it():
    adapter = DiffusionInpainter("no/such", size="3 GB")
    with pytest.raises(UserError, match=r"no/such is not in the local hub cache; inpainter\.download=true fetches it"):
        adapter.load(Runtime())
    assert adapter.unavailable().startswith("no/such is not in the local hub cache")


@pytest.mark.parametrize(
    ("batch", "settings", "wanted"),
    [
        (4, {}, r"runtime\.batch=2 \(it is 4\)"),
        (1, {}, r"inpainter\.vae_tiling=true"),
        (1, {"vae_tiling": True}, r"runtime\.offload=model"),
    ],
)
def test_too_little_gpu_memory_says_what_to_lower(inpainter, monkeypatch, batch, settings, wanted):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")

    adapter = inpainter(runtime=Runtime(batch=batch), **settings)
    monkeypatch.setattr(adapter.pipe.unet, "forward", full)
    with pytest.raises(UserError, match=f"^inpainter: out of GPU memory, wanted {wanted}; what is done is kept$"):
        adapter(*views(1))


def test_what_is_no_number_is_told(inpainter, monkeypatch):
    adapter = inpainter()
    decode = adapter.pipe.vae.decode
    monkeypatch.setattr(adapter.pipe.vae, "decode", lambda latents, **more: decode(latents * torch.nan, **more))
    with pytest.raises(UserError, match=r"runtime\.dtype: auto, wanted another: inpainter answers what is no number"):
        adapter(*views(1))


def test_memory_is_saved_and_the_network_compiled_as_asked(inpainter, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, *_, **__: compiled.append(type(self).__name__))
    adapter = inpainter(vae_tiling=True, vae_slicing=True, compile=True)
    assert adapter.pipe.vae.use_tiling
    assert adapter.pipe.vae.use_slicing
    assert compiled == ["UNet2DConditionModel"]


def test_nothing_is_printed(inpainter, capfd):
    adapter = inpainter()
    long = Prompt("a much longer prompt than the seventy-seven tokens of this text encoder")
    adapter(*views(1)[:2], [long], [1])
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_release_frees_the_networks(inpainter):
    adapter = inpainter()
    adapter.release()
    assert adapter._pipe is None
    adapter.load(Runtime())
    assert adapter(*views(1)).shape == (1, 3, 64, 64)


def test_what_shall_not_be_there_is_said_to_be_unheard_where_nobody_listens(inpainter, caplog):
    adapter = inpainter("flux")
    rgb, known, prompts, seeds = views(1)
    unwanted = [Prompt(prompts[0].text, negative="people")]
    before = adapter(rgb, known, prompts, seeds)
    assert not caplog.messages
    assert torch.equal(adapter(rgb, known, unwanted, seeds), before)
    adapter(rgb, known, unwanted, seeds)
    assert caplog.messages == ["inpainter: FluxFillPipeline takes no negative prompt; prompts.negative is not heard"]
