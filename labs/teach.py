"""`python labs/teach.py grade|feedback|grades`, which `make` calls for a teacher."""

import os
import sys

from classroom.commands import main
from classroom.grade import FORKS

if __name__ == "__main__":
    # What jobs are forked from imports what they need once; it looks for it along this path only.
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [sys.path[0], os.environ.get("PYTHONPATH")])
    )
    FORKS.set_forkserver_preload(["classroom.commands"])
    sys.exit(main())
