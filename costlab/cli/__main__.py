"""`python -m costlab.cli`."""

import sys

from costlab.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
