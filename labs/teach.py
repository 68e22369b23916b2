"""`python labs/teach.py grade|feedback|grades`, which `make` calls for a teacher."""

import sys

from classroom.commands import main
from classroom.grade import FORKS

if __name__ == "__main__":
    FORKS.set_forkserver_preload(["classroom.job"])
    sys.exit(main())
