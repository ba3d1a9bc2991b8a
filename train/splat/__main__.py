"""`python -m train.splat`."""

from worldgen import program

if __name__ == "__main__":
    program.run("train.splat.cli")
