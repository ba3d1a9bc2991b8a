"""Do the inpainter and the completer of the paper work at their full size? `python -m tests.benchmarks.full_size`

SDXL's inpainting networks and a ControlNet of ours over them, as published but with random weights, are saved in the
hub's layout (10 GB, in --folder), loaded through the adapters' normal path in bfloat16, and paint a view of 256 pixels.
What comes out means nothing; that it comes out, in its size and with the known pixels as they were, is what is asked.
The last line is one JSON object: gigabytes of weights and of memory, and seconds.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks import weights  # imports torchvision as transformers wants it, before diffusers does

# isort: split
import diffusers
import torch
import torch.nn.functional as F
from torch import nn

from tests.tiny_clip import save_tiny_clip
from worldgen.models.controlnet import ControlNetCompleter
from worldgen.models.diffusion import DiffusionInpainter
from worldgen.models.runtime import Runtime
from worldgen.runs.usage import PeakMemory
from worldgen.types import Camera, IncompleteView, PointCloud, Prompt, Prompts, View

SIZE, STEPS = 256, 2
RUNTIME = Runtime(device="cpu", dtype="bfloat16")
PROMPTS = Prompts("a meadow", "sky", "grass", indoor=False, source="none")


def filled(make: Callable[[], nn.Module]) -> nn.Module:
    """A network of small random weights in bfloat16, which never was there in 32 bits."""
    with torch.device("meta"):
        network = make().to(torch.bfloat16)
    network = network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.02, generator=generator)
        for name, buffer in network.named_buffers():
            if name.endswith("position_ids"):
                buffer.copy_(torch.arange(buffer.shape[-1])[None])
    return network


def save(folder: Path) -> dict[str, float]:
    """Both checkpoints, one network after the other; returns their weights in GB (1e9 bytes), by network."""
    import transformers

    save_tiny_clip(folder / "clip")
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder / "clip")
    parts = {
        "unet": lambda: weights.sdxl_unet(9),
        "vae": lambda: weights.vae(4),
        "text_encoder": lambda: weights.clip(768, 12),
        "text_encoder_2": lambda: weights.clip(1280, 32, True),
        "controlnet": lambda: weights.controlnet(weights.sdxl_unet(4)),
    }
    sizes = {}
    for name, make in parts.items():
        network = filled(make)
        network.save_pretrained(folder / "controlnet" if name == "controlnet" else folder / "sdxl" / name)
        sizes[name] = sum(parameter.nbytes for parameter in network.parameters()) / 1e9
        print(f"{name:16}{sizes[name]:6.2f} GB")
    for name in ("tokenizer", "tokenizer_2"):
        tokenizer.save_pretrained(folder / "sdxl" / name)
    diffusers.EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, timestep_spacing="leading"
    ).save_pretrained(folder / "sdxl" / "scheduler")
    text = {"text_encoder": "CLIPTextModel", "text_encoder_2": "CLIPTextModelWithProjection"}
    text |= {"tokenizer": "CLIPTokenizer", "tokenizer_2": "CLIPTokenizer"}
    index = {name: ["transformers", kind] for name, kind in text.items()}
    index |= {"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}
    index |= {"scheduler": ["diffusers", "EulerDiscreteScheduler"]}
    index = {"_class_name": "StableDiffusionXLInpaintPipeline", "force_zeros_for_empty_prompt": True, **index}
    (folder / "sdxl" / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return sizes


def painted(folder: Path) -> dict[str, float]:
    """Seconds, by what was done. AssertionError where a known pixel changed or something is not finite."""
    rgb = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    rgb = F.interpolate(rgb, (SIZE, SIZE), mode="bilinear")
    known = torch.ones(1, SIZE, SIZE)
    known[:, SIZE // 4 : SIZE // 2, SIZE // 3 : SIZE // 2] = 0
    prompts, seeds = [Prompt("a meadow")], [0]
    inpainter = DiffusionInpainter("owner/name", path=str(folder / "sdxl"), steps=STEPS)
    took, started = {}, time.perf_counter()
    inpainter.load(RUNTIME)
    took["inpainter_loads_s"], started = time.perf_counter() - started, time.perf_counter()
    _check(inpainter(rgb, known, prompts, seeds)[0], rgb[0], known[0] > 0)
    took["inpainter_paints_s"] = time.perf_counter() - started
    completer = ControlNetCompleter(inpainter, path=str(folder / "controlnet"))
    started = time.perf_counter()
    completer.load(RUNTIME)
    took["controlnet_loads_s"], started = time.perf_counter() - started, time.perf_counter()
    view = View(Camera.from_fov(SIZE, SIZE, 90.0), rgb[0], known[0] > 0)
    asked = [IncompleteView(view, known[0] == 0)]
    (completed,) = completer.begin(PointCloud.empty(), PROMPTS)(asked, prompts, seeds)
    took["completer_paints_s"] = time.perf_counter() - started
    _check(completed.view.rgb, rgb[0], known[0] > 0)
    return {name: round(seconds, 1) for name, seconds in took.items()}


def _check(answer: torch.Tensor, rgb: torch.Tensor, known: torch.Tensor) -> None:
    assert answer.shape == rgb.shape, f"{tuple(answer.shape)}, wanted {tuple(rgb.shape)}"
    assert bool(answer.isfinite().all()), "not finite"
    assert float((answer - rgb).abs()[:, known].median()) < 1 / 255, "known pixels are not as they were"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the checkpoints lie for as long as this runs")
    with tempfile.TemporaryDirectory(dir=parser.parse_args().folder) as folder, PeakMemory() as memory:
        sizes = save(Path(folder))
        took = painted(Path(folder))
    weights_gb = {name: round(size, 2) for name, size in sizes.items()}
    print(json.dumps({"pixels": SIZE, "steps": STEPS, "weights_gb": weights_gb, **took, "peak_mb": round(memory.mb)}))


if __name__ == "__main__":
    main()
