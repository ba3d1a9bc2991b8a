"""For every test: no model hub, no telemetry, no clock; what a test needs is here or comes by a registry's client."""

import os

from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")

settings.register_profile("worldgen", deadline=None)  # a busy machine is no failure
settings.load_profile("worldgen")
