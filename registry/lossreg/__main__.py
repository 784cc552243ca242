"""`python -m lossreg` is `lossreg`."""

from __future__ import annotations

import sys

from lossreg.cli import main

if __name__ == "__main__":
    sys.exit(main())
