"""`python -m kgrec`, the same as the `kgrec` script."""

from __future__ import annotations

import sys

from kgrec.cli import main

if __name__ == "__main__":
    sys.exit(main())
