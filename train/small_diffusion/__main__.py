"""`python -m train.small_diffusion`."""

from worldgen import program

if __name__ == "__main__":
    program.run("train.small_diffusion.cli")
