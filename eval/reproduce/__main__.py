"""`python -m eval.reproduce`."""

from worldgen import program

if __name__ == "__main__":
    program.run("eval.reproduce.cli")
