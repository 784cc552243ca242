"""`python -m lossreg` is `lossreg`."""

import sys

from lossreg.cli import main

if __name__ == "__main__":
    sys.exit(main())
