"""What tests of adapters over tiny checkpoints share: fixtures, by way of conftest.py, and how adapters are loaded."""

from pathlib import Path
from typing import Any

import pytest

MODEL = "owner/name"


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    """All of `tiny_diffusion`, made once; who changes one, copies it first."""
    from tests.tiny_diffusion import save_all

    return save_all(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture
def inpainter(checkpoints):
    """Makes an inpainter of a checkpoint, loaded."""
    from worldgen.models.diffusion import DiffusionInpainter

    def make(name="sdxl", runtime=None, **settings):
        made = DiffusionInpainter(MODEL, path=str(checkpoints[name]), **({"steps": 2} | settings))
        made.load(_runtime() if runtime is None else runtime)
        return made

    return make


@pytest.fixture
def refiner(checkpoints):
    """Makes a refiner's model of a checkpoint."""
    from worldgen.models.diffusion import DiffusionImageToImage

    return lambda name, **settings: DiffusionImageToImage(
        MODEL, path=str(checkpoints[name]), **({"steps": 4} | settings)
    )


def loaded(adapter: Any, **options: Any) -> Any:
    """The adapter, loaded. options: of the runtime."""
    adapter.load(_runtime(**options))
    return adapter


def refusal(adapter: Any, **options: Any) -> str:
    """Why it cannot be loaded, which is one line."""
    from worldgen.errors import UserError

    with pytest.raises(UserError) as caught:
        loaded(adapter, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _runtime(**options: Any) -> Any:
    from worldgen.models.runtime import Runtime

    return Runtime(**options)
