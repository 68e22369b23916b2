"""Figures of the chapter `cache`: where the hits of a replay were found, and how long its requests waited."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from costlab.cache.report import Report, Spread
from costlab.explore.style import COLOURS, STYLE, log_axis

_TICKS_S = (10.0 ** np.arange(-4, 8)).tolist()


def replay_figure(report: Report, path: str | os.PathLike[str]) -> None:
    """Draw where a replay found its input tokens and how long requests waited for their first token, into a file.

    The file appears whole or not at all; its ending says the kind: .svg, .png or .pdf.

    Args:
        report: of `costlab.cache.replay`.
        path: of the file.

    Raises:
        OSError: the folder cannot be written to.
        ValueError: an ending that matplotlib does not know.

    Chapter: cache
    """
    plt.style.use(STYLE)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.6), layout="constrained")
    try:
        _hits(left, report)
        _waits(right, report)
        _save(Path(path))
    finally:
        plt.close(figure)


def _hits(axes: Axes, report: Report) -> None:
    """Draw one bar of all input tokens: found in each tier, or computed."""
    parts = [(tier.name, tier.hit_rate, COLOURS.get(tier.name.lower(), COLOURS["other"])) for tier in report.tiers]
    parts.append(("computed", 1 - report.token_hit_rate if report.input_tokens else 0.0, "#D9D9D9"))
    for row, (_, share, colour) in enumerate(parts):
        axes.barh(row, share, color=colour)
        axes.annotate(f" {share:.1%}", (share, row), va="center", annotation_clip=False)
    axes.set_yticks(range(len(parts)), [name for name, _, _ in parts])
    axes.invert_yaxis()
    axes.set(title="Where were the input tokens?", xlabel="share of input tokens", xlim=(0, 1.15))
    axes.set_xticks(np.linspace(0, 1, 5), [f"{share:.0%}" for share in np.linspace(0, 1, 5)])


def _waits(axes: Axes, report: Report) -> None:
    """Draw percentiles of the time to first token, with and without the queue before it."""
    for row, (spread, colour) in enumerate(((report.ttft, COLOURS["miss"]), (report.service, COLOURS["full"]))):
        _percentiles(axes, row, spread, colour)
    axes.set_yticks([0, 1], ["from arrival", "from its turn"])
    axes.set(title="How long until the first token?", xlabel="seconds", ylim=(1.6, -0.6))
    low, high = _limits(report)
    log_axis(axes, "x", [tick for tick in _TICKS_S if low <= tick <= high], "{:g}".format)
    axes.set_xlim(low, high)


def _percentiles(axes: Axes, row: int, spread: Spread, colour: str) -> None:
    points = {"p50": spread.p50_s, "p90": spread.p90_s, "p99": spread.p99_s}
    axes.plot([max(s, _TICKS_S[0]) for s in points.values()], [row] * 3, "o-", color=colour)
    for height, (name, seconds) in zip((-16, 9, -16), points.items(), strict=True):
        place = (max(seconds, _TICKS_S[0]), row)
        text = f"{name}\n{seconds:.3g}" if height < 0 else f"{name} {seconds:.3g}"
        axes.annotate(text, place, xytext=(0, height), textcoords="offset points", ha="center", va="center", fontsize=8)


def _limits(report: Report) -> tuple[float, float]:
    """Return whole powers of ten around all percentiles."""
    seconds = [max(s, _TICKS_S[0]) for t in (report.ttft, report.service) for s in (t.p50_s, t.p90_s, t.p99_s)]
    low, high = np.floor(np.log10(min(seconds) * 0.8)), np.ceil(np.log10(max(seconds) * 1.25))
    return float(10.0**low), float(10.0 ** max(high, low + 1))


def _save(path: Path) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    try:
        plt.savefig(name)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:  # Ctrl-C too: no half-drawn file stays behind
        Path(name).unlink(missing_ok=True)
        raise
