"""For every test: no model hub, no telemetry; what a test needs is here or fetched by a registry's client."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")
