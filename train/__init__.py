import worldgen as _worldgen  # noqa: F401 - mends torchvision before pytorch_lightning or pyiqa import it
