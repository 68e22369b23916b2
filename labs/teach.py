"""`python labs/teach.py grade|feedback|grades`, which `make` calls for a teacher."""

import os
import sys

if __name__ == "__main__":
    from classroom.commands import main
    from classroom.grade import FORKS

    # Jobs are forked from a process that imports what they need once; it looks along this path.
    path = filter(None, [sys.path[0], os.environ.get("PYTHONPATH")])
    os.environ["PYTHONPATH"] = os.pathsep.join(path)
    FORKS.set_forkserver_preload(["classroom.job"])
    sys.exit(main())
