"""`python labs/grade.py LAB`: grade a class; see `classroom/grade.py`."""

import sys

from classroom.grade import FORKS, main

if __name__ == "__main__":
    FORKS.set_forkserver_preload(["classroom.job"])
    sys.exit(main())
