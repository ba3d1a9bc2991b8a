"""`python -m worldgen`."""

import sys

from worldgen.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
