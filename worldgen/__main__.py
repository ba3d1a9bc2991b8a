"""`python -m worldgen`."""

from worldgen import program

if __name__ == "__main__":
    program.run("worldgen.cli")
