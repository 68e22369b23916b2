"""Where students' code runs: its own view of the files, no network, and limits on what it takes.

Two pairs of eyes guard the limits. `prlimit` bounds each process; `Watch`, outside, adds up what all processes of a
student take, for many small ones pass where one large one would not.
"""

from __future__ import annotations

import math
import os
import shutil
import site
import stat
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

KERNEL = Path(__file__).with_name("kernel.py")
#: Files of the system that Python and its libraries read.
SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/fonts",
)
INSIDE = "/tmp/lab"  # the working folder in a sandbox
BLOCK_BYTES = 4096


@dataclass(frozen=True)
class Limits:
    """What a student's code may take.

    Attributes:
        cell_s: seconds of a cell.
        notebook_s: seconds of a notebook, all repetitions together.
        memory_bytes: address space of a process, and resident memory of all together.
        file_bytes: a file; in a sandbox, all files together too.
        processes: at one time.
        output_bytes: kept of a notebook's output; what is beyond is counted and dropped.
        flood_bytes: a cell that prints more is stopped.
        stops: cells of a notebook that may stop Python before the rest is not run.
    """

    cell_s: float = 30
    notebook_s: float = 300
    memory_bytes: int = 3_000_000_000
    file_bytes: int = 50_000_000
    processes: int = 64
    output_bytes: int = 300_000
    flood_bytes: int = 200_000_000
    stops: int = 4


def package_folders() -> list[Path]:
    """Return the folders that Python imports from, and that hold no more than what is imported."""
    import costlab

    found = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found |= {
        Path(sys.prefix),
        Path(sys.base_prefix),
        Path(os.path.realpath(sys.executable)).parents[1],
    }
    if site.ENABLE_USER_SITE and site.USER_SITE:
        found.add(Path(site.USER_SITE))
    # The package alone: beside it, in a checkout, lie the labs' solutions.
    found.add(Path(costlab.__file__).parent)
    return sorted(path for path in found if path.is_dir() and path != Path("/"))


def environment(work: str) -> dict[str, str]:
    """Return the variables that a kernel sees: few, and none of the teacher's but the course's key."""
    import costlab

    kept = {name: os.environ[name] for name in ("COSTLAB_COURSE_KEY",) if name in os.environ}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]),
        "PYTHONPATH": str(Path(costlab.__file__).parents[1]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
        "HOME": work,
        "IPYTHONDIR": f"{work}/.ipython",
        "JUPYTER_PLATFORM_DIRS": "1",
        **threads,
        **kept,
    }


def limited(limits: Limits) -> list[str]:
    """Return the beginning of a command line that bounds each process; nothing where there is no prlimit."""
    if not shutil.which("prlimit"):
        return []
    bounds = {
        "as": limits.memory_bytes,
        "fsize": limits.file_bytes,
        "core": 0,
        "cpu": int(limits.notebook_s) + 1,
    }
    return ["prlimit", *(f"--{name}={most}" for name, most in bounds.items()), "--"]


class Unprotected:
    """A folder for a student's files and the limits of `prlimit`, else as the teacher: for `--unsafe`."""

    name = "no sandbox"
    protects = False

    def command(self, run: Path, work: Path, limits: Limits) -> list[str]:
        """Return the command line of a kernel, its connection file in `run` left out."""
        return [*limited(limits), sys.executable, str(KERNEL)]

    def variables(self, work: Path) -> dict[str, str]:
        """Return a kernel's environment; it ends with its parent."""
        return {**environment(str(work)), "JPY_PARENT_PID": str(os.getpid())}

    def open_to_kernel(self, run: Path, work: Path) -> None:
        """Let the kernel use folders that were made for it; nothing to do where it is the same user."""


class OtherUser(Unprotected):
    """A kernel of a user without rights, in a container whose own process is root: it cannot end or read that one."""

    name = "other user"
    protects = True

    def command(self, run: Path, work: Path, limits: Limits) -> list[str]:
        """Return the command line of a kernel that has given up its rights."""
        drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--no-new-privs"]
        return [*drop, "--", *super().command(run, work, limits)]

    def variables(self, work: Path) -> dict[str, str]:
        """Return a kernel's environment."""
        return environment(str(work))

    def open_to_kernel(self, run: Path, work: Path) -> None:
        """Let another user write into the folders, and read how to connect."""
        for folder in (run, work):
            folder.chmod(0o777)
        for each in (*run.glob("*.json"), *list(run.parents)[:2]):
            each.chmod(0o755)


class Bubblewrap(Unprotected):
    """`bwrap`: files of the system and of Python to read, an own small folder to write, nothing else."""

    name = "bubblewrap"
    protects = True

    def command(self, run: Path, work: Path, limits: Limits) -> list[str]:
        """Return the command line of a kernel that sees `run`, for its sockets, and none of the teacher's files."""
        view = ["--tmpfs", "/"]
        for path in SYSTEM:
            if os.path.islink(path):
                view += ["--symlink", os.readlink(path), path]
            elif os.path.exists(path):
                view += ["--ro-bind", path, path]
        small = ["--size", str(limits.file_bytes), "--tmpfs"]
        view += ["--proc", "/proc", "--dev", "/dev", *small, "/dev/shm", "--remount-ro", "/dev"]
        view += [*small, "/tmp", "--dir", INSIDE]
        for folder in (*package_folders(), KERNEL):
            if Path("/usr") not in (folder, *folder.parents):
                view += ["--ro-bind", str(folder), str(folder)]
        view += ["--bind", str(run), str(run), "--remount-ro", "/", "--chdir", INSIDE]
        apart = ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
        return ["bwrap", *view, *apart, "--", *limited(limits), sys.executable, str(KERNEL)]

    def variables(self, work: Path) -> dict[str, str]:
        """Return a kernel's environment; its parent is outside, where it cannot look."""
        return environment(INSIDE)


def works(sandbox: Unprotected, limits: Limits, scratch: Path) -> str:
    """Try a sandbox: return "" if Python with the course's packages starts in it, else what it says."""
    run, work = scratch / "run", scratch / "work"
    for folder in (run, work):
        folder.mkdir(parents=True, exist_ok=True)
    *line, _ = sandbox.command(run, work, limits)
    tried = subprocess.run(
        [*line, "-c", "import costlab, numpy, zmq"],
        env=sandbox.variables(work),
        cwd=work,
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if tried.returncode == 0 else tried.stderr.strip() or f"exit status {tried.returncode}"


class Watch(threading.Thread):
    """Adds up what a kernel and its children take, and stops them all when it is too much.

    Attributes:
        reason: why they were stopped; "" while they were not.
        peak_bytes: most resident memory seen.
    """

    def __init__(self, process: subprocess.Popen[bytes], folders: Sequence[Path], limits: Limits) -> None:
        super().__init__(daemon=True)
        self.process, self.folders, self.limits = process, folders, limits
        self.reason, self.peak_bytes, self.done = "", 0, threading.Event()

    def run(self) -> None:
        """Look ten times a second."""
        while not self.done.wait(0.1) and self.process.poll() is None:
            if reason := self.too_much():
                self.reason = reason
                end(self.process)
                return

    def too_much(self) -> str:
        """Return what passes a limit, "" if nothing does."""
        resident = count = unlinked = 0
        with suppress(psutil.Error):
            for each in (top := psutil.Process(self.process.pid), *top.children(recursive=True)):
                with suppress(psutil.Error):
                    resident += each.memory_info().rss
                    count += 1
                    unlinked += held(each.pid, self.folders, self.limits)
        self.peak_bytes = max(self.peak_bytes, resident)
        if resident > self.limits.memory_bytes:
            return f"it took more than {self.limits.memory_bytes / 1e9:g} GB of memory"
        if count > self.limits.processes:
            return f"it started more than {self.limits.processes} processes"
        if sum(map(size, self.folders)) + unlinked > 4 * self.limits.file_bytes:
            return f"it wrote more than {4 * self.limits.file_bytes / 1e6:g} MB"
        return ""


def size(folder: Path) -> float:
    """Return the bytes of what is in a folder, links not followed; no end where a part of it cannot be looked into.

    Each entry counts as a block at least, for a disk can be filled with empty files too.
    """
    total, left = 0, [str(folder)]
    while left:
        try:
            with os.scandir(left.pop()) as entries:
                for each in entries:
                    with suppress(FileNotFoundError):
                        total += max(BLOCK_BYTES, each.stat(follow_symlinks=False).st_size)
                    if each.is_dir(follow_symlinks=False):
                        left.append(each.path)
        except FileNotFoundError:
            continue  # it went while this looked
        except OSError:  # nested deeper than a path can say, or closed to its owner
            return math.inf
    return total


def held(pid: int, folders: Sequence[Path], limits: Limits) -> int:
    """Return the bytes of files without a name on the folders' disk that a process keeps open or mapped."""
    devices, sizes = {os.stat(folder).st_dev for folder in folders if folder.exists()}, dict[int, int]()
    with suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                found = os.stat(f"/proc/{pid}/fd/{number}")
                if stat.S_ISREG(found.st_mode) and not found.st_nlink and found.st_dev in devices:
                    sizes[found.st_ino] = found.st_size
        for line in Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines():
            if line.endswith(" (deleted)") and any(f" {folder}/" in line for folder in folders):
                sizes.setdefault(int(line.split()[4]), limits.file_bytes)  # how large it is cannot be seen
    return sum(sizes.values())


def remove(folder: Path) -> None:
    """Remove a folder with whatever students' code left in it, as folders nested thousands deep or closed ones."""
    with suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        for line in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
            subprocess.run([*line, "--", str(folder)], capture_output=True, check=False)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it started, as far as they can be found."""
    with suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
    with suppress(OSError):
        os.killpg(process.pid, 9)
    process.kill()
    process.wait()
