"""`python -m train.controlnet`."""

from worldgen import program

if __name__ == "__main__":
    program.run("train.controlnet.cli")
