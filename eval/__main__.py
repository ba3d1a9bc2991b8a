"""`python -m eval`."""

from worldgen import program

if __name__ == "__main__":
    program.run("eval.cli")
