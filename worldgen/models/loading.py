"""Loading and running other people's networks: quietly, and in one line where it fails."""

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from worldgen.errors import UserError, first_line


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Our programs show their own progress; of transformers' warnings none is for the person who runs them."""
    from transformers.utils import logging

    with _quiet(logging), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """The same of diffusers, and of the transformers within it."""
    from diffusers.utils import logging

    with _quiet(logging), quiet_transformers():
        yield


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """By a library's own module for that; they are alike."""
    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def one_line(what: str) -> Iterator[None]:
    """Loading ends as it should or in a UserError of one line that begins with `what`: the libraries have no exception
    of their own for all that a file may lack. A GPU's lack of memory is `enough_memory`'s."""
    try:
        yield
    except (UserError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise UserError(f"{what}: {first_line(error)[:200]}") from error


@contextmanager
def enough_memory(otherwise: str) -> Iterator[None]:
    """Turns a GPU's lack of memory into a UserError that says what to lower."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        free_memory()
        raise UserError(otherwise) from error


def free_memory() -> None:
    """Pipelines hold circles of references, and torch holds what they leave."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
