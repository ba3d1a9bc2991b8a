"""`python -m eval.compare`."""

from worldgen import program

if __name__ == "__main__":
    program.run("eval.compare.cli")
