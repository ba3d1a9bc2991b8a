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

DA3_CFG = """
import importlib

from omegaconf import DictConfig, OmegaConf

try:
    OmegaConf.register_new_resolver("eval", eval)
except Exception as e:
    print(f"Error registering eval resolver: {e}")


def load_config(path, argv=None):
    assert argv is None
    return OmegaConf.load(path)


def create_object(config):
    print("using MLP layer as FFN")
    config = OmegaConf.to_object(DictConfig(config))
    at = config.pop("__object__")
    return getattr(importlib.import_module(at["path"]), at["name"])(**config)
"""

DA3_REGISTRY = """
from pathlib import Path

MODEL_REGISTRY = {file.stem: str(file) for file in sorted((Path(__file__).parent / "configs").glob("*.yaml"))}
"""

DA3_NET = """
import torch
from addict import Dict


class DepthAnything3Net(torch.nn.Module):
    PATCH_SIZE = 14

    def __init__(self, net, head, cam_dec=None, cam_enc=None, gs_head=None, gs_adapter=None):
        super().__init__()
        self.has_sky = head["output_dim"] == 1
        self.far = torch.nn.Parameter(torch.zeros(1))
        norm = torch.nn.LayerNorm(2)
        self.head = torch.nn.ModuleList([norm, norm])  # one tensor under two names, as its output_conv2_aux
        if cam_dec is not None:
            assert cam_enc is not None, "upstream makes both or neither"
            self.turn_deg = torch.nn.Parameter(torch.zeros(1))  # of each frame against the one before

    def forward(
        self,
        x,
        extrinsics=None,
        intrinsics=None,
        export_feat_layers=[],
        infer_gs=False,
        use_ray_pose=False,
        ref_view_strategy="saddle_balanced",
    ):
        poses = hasattr(self, "turn_deg")
        if poses:
            print("Selecting reference view")
        assert x.shape[0] == 1 and x.shape[2] == 3 and x.shape[3] % 14 == x.shape[4] % 14 == 0, x.shape
        assert poses or x.shape[1] == 1, x.shape
        depth = self.far * torch.exp(0.1 * x.mean(2))
        output = Dict({"depth": depth, "aux": Dict()})
        if not self.has_sky:
            output.depth_conf = 1 + x.mean(2).sigmoid()
            if poses:
                output.extrinsics, output.intrinsics = self.cameras(*x.shape[1:2], *x.shape[3:])
            return output
        rows = torch.arange(x.shape[3])[None, None, :, None].expand_as(depth)
        output.sky = torch.where(rows < x.shape[3] // 4, 0.4, 0.0)  # above 0.3 is sky
        output.depth = torch.where(output.sky < 0.3, depth, depth.max() * (1 + torch.rand(())))
        return output

    def cameras(self, count, height, width):
        turns = torch.deg2rad(self.turn_deg) * torch.arange(count)
        w2c = torch.zeros(1, count, 3, 4)
        w2c[..., 0, 0] = w2c[..., 2, 2] = turns.cos()
        w2c[..., 0, 2], w2c[..., 2, 0] = -turns.sin(), turns.sin()
        w2c[..., 1, 1], w2c[..., 0, 3] = 1, 0.5
        lens = torch.tensor([[0.8 * width, 0, width / 2], [0, 0.8 * width, height / 2], [0, 0, 1]])
        return w2c, lens.expand(1, count, 3, 3)
"""

DA3_PRESET = """
__object__: {{path: depth_anything_3.model.da3, name: DepthAnything3Net, args: as_params}}
net: {{name: {net}}}
head: {{output_dim: {outputs}}}
"""

DA3_CAMERAS = "cam_dec: {dim_in: 768}\ncam_enc: {dim_out: 384}\n"

_DA3 = {
    "__init__.py": "",
    "model/__init__.py": "",
    "cfg.py": DA3_CFG,
    "registry.py": DA3_REGISTRY,
    "model/da3.py": DA3_NET,
    "configs/da3-small.yaml": DA3_PRESET.format(net="vits", outputs=2)
    + "cam_dec: {dim_in: 768}\ncam_enc: {dim_out: 384}\n",
    "configs/da3metric-large.yaml": DA3_PRESET.format(net="vitl", outputs=1),
    "configs/da3mono-large.yaml": DA3_PRESET.format(net="vitl", outputs=1),
}

_FILES = {
    "depth_anything_3": {f"depth_anything_3/{name}": text for name, text in _DA3.items()},
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
