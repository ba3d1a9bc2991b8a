"""The metrics of the evaluation: the field's references (pyiqa, torchmetrics), or kernels held to them by tests."""

from eval.metrics.fidelity import psnr
from eval.metrics.natural import brisque, niqe

__all__ = ["brisque", "niqe", "psnr"]
