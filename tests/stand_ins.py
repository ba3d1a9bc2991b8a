"""Repositories of others in short: the same paths, names, signatures and dictionaries, a network of one number.

Each was checked against the revision that its adapter's file names.
"""

from pathlib import Path

METRIC3D = """
import torch


class DepthModel(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.canonical_m = torch.nn.Parameter(torch.zeros(1))

    def inference(self, data):
        pixels = data["input"]
        assert pixels.shape == (1, 3, 616, 1064), pixels.shape
        depth = self.canonical_m * torch.exp(0.1 * pixels.mean(1, keepdim=True))
        return depth, torch.ones_like(depth), {"prediction": depth, "prediction_normal": depth.expand(-1, 4, -1, -1)}


def metric3d_vit_small(pretrain=False, **kwargs):
    print("loading")
    assert not pretrain, "it would fetch"
    return DepthModel()
"""

DUST3R = """
import math

import torch
from huggingface_hub import PyTorchModelHubMixin


class AsymmetricCroCo3DStereo(torch.nn.Module, PyTorchModelHubMixin):
    def __init__(self, focal_per_longest=1.0):
        super().__init__()
        self.focal_per_longest = torch.nn.Parameter(torch.tensor(float(focal_per_longest)))

    def forward(self, view1, view2):
        img = view1["img"]
        assert img.shape == view2["img"].shape and img.shape[0] == 1 and -1 <= img.min() <= img.max() <= 1
        rows, columns = view1["true_shape"][0].tolist()
        assert img.shape[2:] == (rows, columns) and rows % 16 == columns % 16 == 0 and rows != columns
        assert view1["idx"] != view2["idx"] and view1["instance"] != view2["instance"]
        focal = self.focal_per_longest * max(rows, columns)
        y, x = (torch.arange(side) + 0.5 - side / 2 for side in (rows, columns))
        y, x = torch.meshgrid(y, x, indexing="ij")
        z = 2 + img[0].mean(0)
        points = torch.stack([x / focal * z, y / focal * z, z], -1)[None]
        sure = torch.ones(1, rows, columns)
        return {"pts3d": points, "conf": sure}, {"pts3d_in_other_view": points, "conf": sure}
"""

DA360 = """
import torch


class DA360(torch.nn.Module):
    def __init__(self, equi_h, equi_w, dinov2_encoder="vits", **kwargs):
        super().__init__()
        self.size = (equi_h, equi_w)
        self.nearness = torch.nn.Parameter(torch.zeros(1))

    def forward(self, input_equi_image):
        assert input_equi_image.shape == (1, 3, *self.size)
        return {"pred_disp": self.nearness * torch.exp(0.1 * input_equi_image.mean(1, keepdim=True))}
"""

DAP = """
import torch

assert __import__("pathlib").Path("networks").is_dir(), "it looks for its parts from the folder that it runs in"


class DAP(torch.nn.Module):
    def __init__(self, args):
        super().__init__()
        assert args["midas_model_type"] == "vitl" and args["max_depth"] == 1.0
        self.far = torch.nn.Parameter(torch.zeros(1))

    def forward(self, image):
        assert image.shape[0] == 1 and 0 <= image.min() <= image.max() <= 1
        mean = image.mean(1, keepdim=True)
        rows = torch.arange(image.shape[2])[None, None, :, None].expand_as(mean)
        return {"pred_depth": self.far * (0.5 + mean), "pred_mask": (rows < image.shape[2] // 8).float()}


def make(model_spec, args=None, load_sd=False):
    assert model_spec["name"] == "dap"
    return DAP(model_spec["args"])
"""

_FILES = {
    "metric3d": {"hubconf.py": METRIC3D},
    "dust3r": {"dust3r/__init__.py": "", "dust3r/model.py": DUST3R},
    "mini_dust3r": {"mini_dust3r/__init__.py": "", "mini_dust3r/model.py": DUST3R},
    "da360": {"networks/__init__.py": "from .da360 import DA360\n", "networks/da360.py": DA360},
    "dap": {"networks/__init__.py": "", "networks/models.py": DAP},
}


def clone(name: str, folder: Path) -> str:
    """A folder that looks like a checkout of it."""
    for path, text in _FILES[name].items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return str(folder)
