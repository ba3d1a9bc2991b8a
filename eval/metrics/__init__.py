"""The metrics of the evaluation: the field's references (pyiqa, torchmetrics), or kernels held to them by tests."""

from eval.metrics.brisque_niqe import brisque, niqe
from eval.metrics.fidelity import psnr

__all__ = ["brisque", "niqe", "psnr"]
