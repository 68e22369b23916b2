"""A container for each submission, where there is no bubblewrap: docker or podman.

The grader's own part runs inside as root of the container, the student's kernel as a user without rights. The notebook
goes in by standard input and comes out by standard output; no folder of the teacher's is seen but the code of `costlab`
and of this package. Such containers have no network, so the sockets of a kernel could not reach outside them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from dataclasses import asdict
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from classroom.execute import Contained, Run
from classroom.sandbox import Limits, OtherUser, Unprotected

IMAGE = "costlab-grader"
BUILD = f"build -t {IMAGE} - < labs/classroom/Dockerfile"
SLACK_S = 60  # for a container to start and end


class Container(Unprotected):
    """docker or podman, with an image that has Python and what the labs import."""

    protects = True

    def __init__(self, engine: str) -> None:
        self.name = engine

    def line(self, name: str, limits: Limits) -> list[str]:
        """Return the command line that runs one notebook in a container of this name."""
        import costlab

        memory = limits.memory_bytes + 500_000_000  # the grader's own part beside the student's
        folders = {Path(__file__).parent: "/grader/classroom", Path(costlab.__file__).parent: "/grader/costlab"}
        return [
            self.name, "run", "--rm", "--interactive", f"--name={name}",
            "--network=none", "--read-only", f"--tmpfs=/tmp:size={limits.file_bytes},mode=1777",
            f"--memory={memory}", f"--memory-swap={memory}", f"--pids-limit={limits.processes + 64}",
            "--cap-drop=ALL", *(f"--cap-add={each}" for each in ("SETUID", "SETGID", "KILL", "DAC_OVERRIDE")),
            "--security-opt=no-new-privileges",
            *(f"--volume={folder}:{inside}:ro" for folder, inside in folders.items()),
            "--env=PYTHONPATH=/grader", "--env=COSTLAB_COURSE_KEY",
            IMAGE, "python", "-m", "classroom.container",
        ]  # fmt: skip


def contained(notebook: NotebookNode, sandbox: Unprotected, scratch: Path, limits: Limits) -> Run:
    """Run a notebook where a sandbox says; outputs go into the notebook."""
    if not isinstance(sandbox, Container):
        return Contained(notebook, sandbox, scratch, limits).run()
    name = f"grade-{uuid.uuid4().hex[:12]}"
    try:
        done = subprocess.run(
            sandbox.line(name, limits),
            input=asked(notebook, limits),
            capture_output=True,
            timeout=limits.notebook_s + SLACK_S,
            check=False,
        )
    finally:  # the container outlives its command line
        subprocess.run([sandbox.name, "kill", name], capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(
            f"{sandbox.name} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}"
        )
    return answered(notebook, done.stdout)


def asked(notebook: NotebookNode, limits: Limits) -> bytes:
    """Return what goes into a container."""
    return json.dumps({"notebook": notebook, "limits": asdict(limits)}).encode()


def answered(notebook: NotebookNode, out: bytes) -> Run:
    """Take what came out of a container: outputs into the notebook, the rest as a Run."""
    told = nbformat.from_dict(json.loads(out))
    for cell, outputs in zip(notebook.cells, told.outputs, strict=True):
        if outputs is not None:
            cell.outputs = outputs
    return Run(set(told.failed), {int(index): said for index, said in told.culprits.items()}, told.peak_bytes)


def inside() -> None:
    """Be the grader's part in a container: a notebook from standard input, what it came to on standard output."""
    told = json.load(sys.stdin)
    notebook = nbformat.from_dict(told["notebook"])
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # nothing else may be printed there
    with tempfile.TemporaryDirectory() as scratch:
        run = Contained(notebook, OtherUser(), Path(scratch), Limits(**told["limits"])).run()
    outputs = [cell.get("outputs") for cell in notebook.cells]
    culprits = {str(index): said for index, said in run.culprits.items()}
    json.dump(
        {"outputs": outputs, "failed": sorted(run.failed), "culprits": culprits, "peak_bytes": run.peak_bytes}, out
    )
    out.close()


def found() -> tuple[Container | None, str]:
    """Return a container engine that is ready; else why there is none."""
    for engine in ("docker", "podman"):
        if not shutil.which(engine):
            continue
        tried = subprocess.run([engine, "image", "inspect", IMAGE], capture_output=True, text=True, check=False)
        if tried.returncode == 0:
            return Container(engine), ""
        if "o such image" in tried.stderr or "not known" in tried.stderr:
            return None, f"{engine} has no image for grading yet: {engine} {BUILD}"
    return None, "no docker or podman that runs"


if __name__ == "__main__":
    inside()
