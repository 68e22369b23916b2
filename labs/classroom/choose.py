"""Which sandbox there is on this machine."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from classroom import container
from classroom.sandbox import Bubblewrap, Limits, Unprotected, package_folders, works


def chosen(unsafe: bool, limits: Limits, hidden: Sequence[Path] = ()) -> Unprotected:
    """Return a sandbox that works here; ValueError, with what to do, if there is none and no `--unsafe`.

    Args:
        unsafe: to do without.
        limits: of what runs in it.
        hidden: folders that students' code must not see.
    """
    if unsafe:
        return Unprotected()
    for folder in package_folders():
        for path in hidden:
            if folder in (path, *path.parents):
                raise ValueError(f"{path} lies in {folder}, which students' code can read: keep it elsewhere")
    why = why_no_bubblewrap(limits)
    if not why:
        return Bubblewrap()
    found, why_not = container.found()
    if found:
        return found
    raise ValueError(f"{why}; {why_not}. Students' code would run with your rights: --unsafe (UNSAFE=1) does that")


def why_no_bubblewrap(limits: Limits) -> str:
    """Return "" if bubblewrap works here, else why it does not."""
    if not shutil.which("bwrap"):
        return "there is no bubblewrap (Debian, Ubuntu: apt install bubblewrap)"
    if not shutil.which("prlimit"):
        return "there is no prlimit (it comes with util-linux)"
    told = subprocess.run(["bwrap", "--help"], capture_output=True, text=True, check=False).stdout
    if "--size" not in told:
        return "this bubblewrap is too old: it cannot bound what is written"
    with tempfile.TemporaryDirectory() as scratch:
        said = works(Bubblewrap(), limits, Path(scratch))
    return said and f"bubblewrap does not work here: {said}"
