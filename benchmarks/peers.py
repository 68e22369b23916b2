"""What the benchmarks share: a figure of ours beside a peer's, how both are timed, how they are printed.

A benchmark has one function that yields rows, and runs alone (`python benchmarks/moe.py [--quick] [--json FILE]`).
Both sides do the same work in the same process, and take turns, so that a busy machine slows both; the shortest time
of several counts, for what else runs on the machine only ever adds.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Row:
    """A figure of ours beside a named peer's.

    Attributes:
        name: short and lasting; README and book quote it.
        figure: what is measured, at which size.
        peer: whom it is measured beside.
        unit: of both values.
        ours: our value, None if it could not be measured.
        theirs: the peer's value.
        more: whether more is better; times and bytes: less is.
        goal: the smallest ratio that was asked for, and the largest (None: any).
        at: sizes, for tables made of several rows.
        why_not: why there are no values.
    """

    name: str
    figure: str
    peer: str
    unit: str
    ours: float | None = None
    theirs: float | None = None
    more: bool = False
    goal: tuple[float, float | None] | None = None
    at: dict[str, Any] = field(default_factory=dict)
    why_not: str = ""

    def __post_init__(self) -> None:
        measured = self.ours is not None and self.theirs is not None
        if measured == bool(self.why_not):
            raise ValueError(f"{self.name}: a row has both values, or a reason why it has none")
        if not self.peer or " " in self.name:
            raise ValueError(f"{self.name!r}: a row needs a name without spaces, and a peer")

    @property
    def ratio(self) -> float | None:
        """How many times better ours is; below 1 the peer is better."""
        if self.ours is None or self.theirs is None:
            return None
        return self.ours / self.theirs if self.more else self.theirs / self.ours

    @property
    def missed(self) -> bool:
        """Whether a goal was set and not reached."""
        if self.goal is None or self.ratio is None:
            return False
        low, high = self.goal
        return self.ratio < low or (high is not None and self.ratio > high)


def beside(name: str, figure: str, peer: str, seconds: Sequence[float], unit: str = "ms", **more: Any) -> Row:
    """Return the row of a race: seconds of ours, seconds of the peer."""
    ours, theirs = (s * {"s": 1, "ms": 1e3, "us": 1e6}[unit] for s in seconds)
    return Row(name, figure, peer, unit, ours, theirs, **more)


def peer(module: str) -> Any:
    """Import what a benchmark measures us beside, or stop and say how to get it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name or module} is missing: `make bench` brings the benchmarks' peers")


def from_tests(path: str) -> Any:
    """Load a helper of the tests, e.g. "moe/naive.py"."""
    spec = importlib.util.spec_from_file_location(f"tests_{Path(path).stem}", ROOT / "tests" / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.append(str(ROOT / "tests"))  # what the helper itself takes from there
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.pop()
    return module


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds of one call, and its result."""
    _wait_for_gpu()
    start = time.perf_counter()
    result = call()
    _wait_for_gpu()
    return time.perf_counter() - start, result


def best(*calls: Callable[[], Any], rounds: int = 7, warm: int = 1) -> list[float]:
    """Return the shortest seconds of each call over rounds in which they take turns, after some that do not count."""
    times = [[timed(call)[0] for call in calls] for _ in range(warm + rounds)][warm:]
    return [min(each) for each in zip(*times, strict=True)]


def _wait_for_gpu() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.synchronize()


def main(
    measure: Callable[[argparse.Namespace], Iterable[Row]],
    doc: str,
    argv: Sequence[str] | None = None,
    add_options: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
) -> None:
    """Run one benchmark from the command line: print its rows, or write them to a file."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smallest sizes, to see that it runs")
    parser.add_argument("--json", type=Path, help="write the rows to this file instead of printing them")
    parser.add_argument("--threads", type=int, default=1, help="of torch; one is steady on a machine in use")
    add_options(parser)
    options = parser.parse_args(argv)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(options.threads)
    rows = list(measure(options))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows]))
    else:
        print(markdown([cells(row) for row in rows]))


def cells(row: Row) -> dict[str, str]:
    """Return a row as it is shown."""
    goal = ""
    if row.goal:
        low, high = row.goal
        goal = f"≥ {low:g}" if high is None else f"{low:.2g} to {high:.2g}"
        goal += " missed" if row.missed else ""
    values = [row.ours, row.theirs, row.ratio]
    ours, theirs, ratio = ("–" if v is None else number(v) for v in values)
    ratio = f"not measured: {row.why_not}" if row.why_not else ratio
    return {
        "figure": row.figure, "ours": ours, "beside": row.peer, "theirs": theirs, "unit": row.unit, "ratio": ratio,
        "goal": goal,
    }  # fmt: skip


def number(value: float) -> str:
    """Return a number to three figures: 0.0123, 4.56, 789, 12,345."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def markdown(rows: Sequence[dict[str, str]]) -> str:
    """Return rows of one shape as a Markdown table whose columns line up."""
    table = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    table.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(map(str.ljust, line, widths))} |" for line in table)
