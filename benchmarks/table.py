"""Run the benchmarks and write what they find into one table: results.md to read, results.json for book and README.

make bench              # all, in an environment that has the peers
make bench ONLY=moe     # one: the rows of the others stay, with their own date, machine and versions
python benchmarks/table.py [--quick] [--into FOLDER] [NAME ...]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from peers import ROOT, Row, cells, markdown

HERE = Path(__file__).parent
NAMES = sorted({path.stem for path in HERE.glob("*.py")} - {"peers", "table"})
#: What the figures depend on, beside the peers that only the benchmarks need.
PACKAGES = ("numpy", "torch", "transformers", "libcachesim")

HEAD = """\
# What `make bench` found

Written by `make bench`. Each figure of ours stands beside a named peer's from the same run. The ratio says how many
times better ours is: below 1 the peer is better. Times are the shortest of several in which both sides take turns;
references and prompts by the thousand are timed once, pages in a browser are medians. One thread of a CPU, unless a row
names a device.

"""

Run = dict[str, Any]


def run(name: str, quick: bool = False) -> Run:
    """Run one benchmark by itself and return its rows, and when, where and with what they were measured."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(path), *["--quick"] * quick]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
        rows = [rounded(row) for row in json.loads(path.read_text())]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        "rows": rows,
    }


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with values to four figures and without what it leaves empty."""
    row = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in row.items()}
    return {key: value for key, value in row.items() if value not in (None, "", {}, False)}


def read(folder: Path = HERE) -> dict[str, Run]:
    """Return the stored runs by benchmark."""
    path = folder / "results.json"
    runs: dict[str, Run] = json.loads(path.read_text()) if path.exists() else {}
    return runs


def row_of(runs: dict[str, Run], key: str) -> Row:
    """Return the row that a key such as "moe/loop-128" names.

    Raises:
        KeyError: there is none.
    """
    benchmark, _, name = key.partition("/")
    for row in runs[benchmark]["rows"] if benchmark in runs else ():
        if row["name"] == name:
            return Row(**row)
    raise KeyError(f"no row {key!r} in benchmarks/results.json")


def write(runs: dict[str, Run], folder: Path = HERE) -> None:
    """Store the runs and the table that shows them."""
    runs = {name: runs[name] for name in sorted(runs)}
    (folder / "results.json").write_text(json.dumps(runs, indent=1, ensure_ascii=False) + "\n")
    (folder / "results.md").write_text(page(runs))


def page(runs: dict[str, Run]) -> str:
    """Return the whole table as Markdown, and under it the machines and versions."""
    rows = [
        {"benchmark": name, **cells(Row(**row)), "date": one["date"]}
        for name, one in runs.items()
        for row in one["rows"]
    ]
    return f"{HEAD}{markdown(rows)}\n\n## Machines and versions\n\n{settings(runs)}"


def settings(runs: dict[str, Run]) -> str:
    """Return where and with what the runs were made, as a list; runs made alike share an entry."""
    shared: dict[str, list[str]] = {}
    for name, one in runs.items():
        with_what = ", ".join(f"{package} {version}" for package, version in one["versions"].items())
        shared.setdefault(f"{one['machine']}. costlab at {one['commit']}, {with_what}.", []).append(name)
    return "".join(f"- {', '.join(names)}: {setting}\n" for setting, names in shared.items())


def quoted(runs: dict[str, Run], keys: Sequence[str]) -> str:
    """Return some rows as README shows them, with date and machine."""
    rows = [cells(row_of(runs, key)) for key in keys]
    shown = ("figure", "ours", "beside", "theirs", "unit", "ratio")
    used = [runs[key.partition("/")[0]] for key in keys]
    where: dict[str, set[str]] = {}
    for one in used:
        where.setdefault(one["machine"], set()).add(one["date"])
    table = markdown([{head: row[head] for head in shown} for row in rows])
    measured = [f"on {name}, {' and '.join(sorted(dates))}" for name, dates in where.items()]
    return f"{table}\n\nMeasured {'; '.join(measured)}.\n"


def machine() -> str:
    """Return processor, cores, memory and system in words."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = [processor(), f"{cores} cores", f"{memory_bytes() / 1e9:.0f} GB", system(), *gpu()]
    return ", ".join(parts)


def processor() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.M) if info.exists() else None
    return " ".join(named[1].split()) if named else platform.processor() or platform.machine()


def memory_bytes() -> int:
    """Return the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def system() -> str:
    """Return the operating system's name."""
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.platform(terse=True)


def gpu() -> list[str]:
    """Return the name of the GPU that torch finds, if any."""
    import torch

    return [torch.cuda.get_device_name()] if torch.cuda.is_available() else []


def versions() -> dict[str, str]:
    """Return versions of Python and of all that the figures depend on."""
    needed = (HERE / "requirements.txt").read_text()
    names = [*PACKAGES, *re.findall(r"^([\w.-]+)==", needed, re.M)]
    found = {"Python": platform.python_version()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # its benchmark says so
    return found


def commit() -> str:
    """Return the commit that was measured; "+" after it: and changes on top."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--", "costlab", "live_sliders", "benchmarks/*.py")
    return (git("rev-parse", "--short=9", "HEAD") or "unknown") + ("+" if changed else "")


def main(argv: Sequence[str] | None = None) -> None:
    """Run what was asked for; keep what fails out of the table, and say so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; none: all")
    parser.add_argument("--quick", action="store_true", help="the smallest sizes, to see that all run; needs --into")
    parser.add_argument("--into", type=Path, default=HERE, help="the folder of results.md and results.json")
    options = parser.parse_args(argv)
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if options.quick and options.into == HERE:
        parser.error("figures of --quick say nothing: give another folder with --into")
    failed = []
    for name in options.names or NAMES:
        print(f"{name} …", flush=True)
        try:
            found = run(name, options.quick)
        except subprocess.CalledProcessError:
            failed.append(name)
            continue
        write(read(options.into) | {name: found}, options.into)
        print(markdown([cells(Row(**row)) for row in found["rows"]]), flush=True)
        missed = [row["name"] for row in found["rows"] if Row(**row).missed]
        if missed and not options.quick:
            print(f"goals missed: {', '.join(missed)}", flush=True)
    if failed:
        sys.exit(f"failed, so the table keeps their old rows: {', '.join(failed)}")


if __name__ == "__main__":
    main()
