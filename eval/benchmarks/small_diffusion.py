"""How well the small diffusion network fills holes: `python -m eval.benchmarks.small_diffusion`

On crops of panoramas that it was not trained on, under random masks of known shares: PSNR within the holes and LPIPS of
the whole picture, beside a smooth fill and MI-GAN; and what its autoencoder alone loses. The last line is one JSON
object.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eval.metrics.fidelity import Lpips, psnr
from eval.synthetic.panoramas import truth_panoramas
from train.seeds import generator_of
from train.small_diffusion.hole_masks import known_mask
from train.small_diffusion.training_pictures import TrainingPictures
from worldgen import program
from worldgen.arguments import Parser
from worldgen.config import choice, instantiate
from worldgen.geometry.fill import push_pull
from worldgen.models.runtime import Runtime
from worldgen.types import Prompt

HELD_OUT = ("san_giuseppe_bridge", "apartment", "city", "forest", "hall", "sunset")
_SEED = 12345
Fill = Callable[[Tensor, Tensor, int], Tensor]


def holes_psnr_db(painted: Tensor, truth: Tensor, known: Tensor) -> float:
    """dB of [3, H, W] over the unknown pixels of bool [H, W]."""
    return psnr(painted[:, ~known], truth[:, ~known])


def masks(count: int, size: int) -> Tensor:
    """bool [count, size, size], each with something known and something not."""
    found: list[Tensor] = []
    number = 0
    while len(found) < count:
        known = known_mask(size, generator_of(_SEED, number))
        number += 1
        if known.any() and not known.all():
            found.append(known)
    return torch.stack(found)


def fills(path: Path | None, steps: int | None) -> tuple[dict[str, Fill], Callable[[Tensor], Tensor]]:
    """By name, each of (rgb [3, H, W], known [H, W], seed); and the autoencoder, there and back, [B, 3, H, W]."""
    config = choice("inpainter", "small_diffusion")
    config.path = config.path if path is None else str(path)
    config.steps = steps or config.steps
    small, migan = instantiate(config), instantiate(choice("inpainter", "migan"))
    for each in (small, migan):
        each.load(Runtime())

    def by(adapter: Any) -> Fill:
        return lambda rgb, known, seed: adapter(rgb[None], known[None].float(), [Prompt("a place")], [seed])[0]

    @torch.no_grad()
    def there_and_back(rgb: Tensor) -> Tensor:
        vae = small.pipe.vae
        return (vae.decode(vae.encode(2 * rgb - 1).latent_dist.mean).sample / 2 + 0.5).clamp(0, 1)

    return {
        "push_pull": lambda rgb, known, seed: push_pull(rgb * known, known).clamp(0, 1),
        "small_diffusion": by(small),
        "migan": by(migan),
    }, there_and_back


def main(arguments: Sequence[str]) -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("--count", type=int, default=60, help="pictures (default: 60)")
    parser.add_argument("--size", type=int, default=128, help="pixels of a square one (default: 128)")
    parser.add_argument("--path", type=Path, help="another pipeline than the shipped one")
    parser.add_argument("--steps", type=int, help="of denoising (default: as conf/inpainter/small_diffusion.yaml)")
    parser.add_argument("--pictures", type=Path, help="a PNG of truth, holes, and what each made of them")
    options = parser.parse_args(arguments)
    pictures = TrainingPictures(truth_panoramas(), HELD_OUT, size=options.size)
    rgb, known = pictures(_SEED, range(options.count)), masks(options.count, options.size)
    named, there_and_back = fills(options.path, options.steps)
    back = torch.cat([there_and_back(one[None]) for one in rgb])
    told = {
        "pictures": options.count,
        "autoencoder_psnr_db": _mean([psnr(a, b) for a, b in zip(back, rgb, strict=True)]),
    }
    rows, lpips = [rgb, torch.where(known[:, None], rgb, 0.5), back], Lpips()
    told["autoencoder_lpips"] = _mean(lpips(list(back), list(rgb)))
    for name, fill in named.items():
        began = time.perf_counter()
        painted = torch.stack([fill(*pair, number) for number, pair in enumerate(zip(rgb, known, strict=True))])
        seconds = (time.perf_counter() - began) / options.count
        rows.append(painted)
        told[f"{name}_psnr_db"] = _mean([holes_psnr_db(*one) for one in zip(painted, rgb, known, strict=True)])
        told[f"{name}_lpips"] = _mean(lpips(list(painted), list(rgb)))
        told[f"{name}_seconds"] = round(seconds, 3)
        print(f"{name}: {told[f'{name}_psnr_db']} dB in holes, LPIPS {told[f'{name}_lpips']}", flush=True)
    if options.pictures:
        _save(rows, options.pictures)
    print(json.dumps(told))
    return 0


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 3)


def _save(rows: Sequence[Tensor], path: Path) -> None:
    """The first sixteen pictures of each row, one row below the other."""
    from PIL import Image

    sheet = torch.cat([torch.cat(list(row[:16]), dim=2) for row in rows], dim=1)
    Image.fromarray((sheet.permute(1, 2, 0) * 255 + 0.5).byte().numpy()).save(path)


if __name__ == "__main__":
    program.run("eval.benchmarks.small_diffusion")
