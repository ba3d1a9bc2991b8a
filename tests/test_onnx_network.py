"""Networks out of ONNX files: answers for any shape, nothing told to anybody."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from worldgen.embedded.onnx_network import OnnxNetwork
from worldgen.models import assets
from worldgen.processors import usable_cores


@pytest.fixture(scope="module")
def migan() -> OnnxNetwork:
    return OnnxNetwork(assets.fetch("migan"), threads=1)


def picture(height: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """MI-GAN's inputs: a smooth picture, and a mask that knows all but a square of it."""
    coarse = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    image = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1) * 255
    mask = np.full((1, 1, height, width), 255, np.uint8)
    mask[..., height // 3 : height // 2, width // 3 : width // 2] = 0
    return image.to(torch.uint8).numpy(), mask


def test_pictures_of_any_size_are_painted_in_their_holes_alone(migan):
    for height, width in ((96, 128), (128, 96), (96, 128)):
        image, mask = picture(height, width, seed=height)
        answer = migan(image, mask)
        assert answer.shape == image.shape
        known = np.broadcast_to(mask == 255, image.shape).copy()
        known[..., height // 3 - 8 : height // 2 + 8, width // 3 - 8 : width // 2 + 8] = False  # its mask is blurred
        assert np.abs(answer.astype(int) - image)[known].max() <= 1


def test_an_answer_is_not_overwritten_by_the_next(migan):
    first = migan(*picture(96, 128, seed=0))
    kept = first.copy()
    migan(*picture(96, 128, seed=1))
    np.testing.assert_array_equal(first, kept)


def test_nothing_reports_to_its_makers(tmp_path):
    program = """
import socket, sys
def refused(*_): raise AssertionError("nothing here may open a connection")
socket.socket.connect = refused
from worldgen.embedded.onnx_network import OnnxNetwork
OnnxNetwork(sys.argv[1])
assert not [name for name, module in sys.modules.items() if module and "openvino_telemetry" in name]
"""
    arguments = [sys.executable, "-c", program, str(assets.fetch("fastdepth"))]
    subprocess.run(arguments, env=os.environ | {"HOME": str(tmp_path)}, check=True)
    assert not list(tmp_path.iterdir())


def test_cores_are_counted_where_a_system_tells_of_no_affinity(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert usable_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1
