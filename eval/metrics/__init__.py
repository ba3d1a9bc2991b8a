"""The metrics of the evaluation, thin over the field's references: pyiqa, torchmetrics."""

from eval.metrics.natural import brisque, niqe, psnr

__all__ = ["brisque", "niqe", "psnr"]
