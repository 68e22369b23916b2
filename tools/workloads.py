"""Condense public traces into the length histograms of costlab/catalog/workloads.toml, and print that file.

python tools/workloads.py --azure AZURE --mooncake MOONCAKE --servegen SERVEGEN > costlab/catalog/workloads.toml

The three folders are checkouts of Azure/AzurePublicDataset, kvcache-ai/Mooncake and alibaba/ServeGen.
"""

from __future__ import annotations

import argparse
import ast
import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from costlab import traces

#: Upper ends of the bins, in tokens: powers of the square root of 2, with every power of 2 exact.
EDGES = sorted({round(2 ** (half / 2)) for half in range(36)})
#: Coarser ones for single clients.
COARSE = [2**power for power in range(18)]


def azure(folder: Path, name: str) -> traces.Trace:
    """Return one of the traces of 2023."""
    return traces.read(folder / "data" / f"AzureLLMInferenceTrace_{name}.csv", "azure")


def mooncake(folder: Path) -> traces.Trace:
    """Return the conversation trace of the FAST'25 release."""
    return traces.read(folder / "FAST25-release" / "traces" / "conversation_trace.jsonl", "mooncake")


def bins(values: np.ndarray, edges: list[int]) -> np.ndarray:
    """Return the bin of each length: the first whose upper end it does not exceed."""
    return np.searchsorted(edges, values, side="left")


def used(values: np.ndarray, edges: list[int]) -> list[int]:
    """Return the edges up to the one that holds the largest value, from the one below the smallest."""
    found = bins(values, edges)
    return edges[int(found.min()) : int(found.max()) + 1]


def joint(trace: traces.Trace) -> dict[str, Any]:
    """Return a trace's lengths, input by output, and how its gaps are spread."""
    requests = list(trace)
    given, made = (np.array([getattr(r, f"{k}_tokens") for r in requests]) for k in ("input", "output"))
    times = np.array([r.time_s for r in requests])
    ins, outs = used(given, EDGES), used(made, EDGES)
    counts = np.zeros((len(ins), len(outs)), int)
    np.add.at(counts, (bins(given, ins), bins(made, outs)), 1)
    gaps = np.diff(times)
    return {
        "requests": len(requests),
        "span_s": round(float(times[-1] - times[0]), 1),
        "gap_cv": round(float(gaps.std() / gaps.mean()), 3),
        "distinct_times": len(set(times.tolist())),
        "input_tokens": int(given.sum()),
        "output_tokens": int(made.sum()),
        "input_upto": ins,
        "input_means": means(given, bins(given, ins), len(ins)),
        "output_upto": outs,
        "output_means": means(made, bins(made, outs), len(outs)),
        "counts": counts.tolist(),
    }


def means(values: np.ndarray, index: np.ndarray, size: int, weights: np.ndarray | None = None) -> list[float]:
    """Return the mean length in each bin; 0 in an empty one."""
    total = np.bincount(index, values if weights is None else values * weights, size)
    count = np.bincount(index, weights, size)
    return [float(f"{t / c:.5g}") if c else 0.0 for t, c in zip(total, count, strict=True)]


# --- ServeGen --------------------------------------------------------------------------------------------------


class Client:
    """What is stored of one client: ten-minute windows of rate, CV and family, and six-hour histograms of lengths."""

    def __init__(self, trace: Path) -> None:
        rows = [(float(t), float(rate), float(cv), family) for t, rate, cv, family, *_ in csv.reader(trace.open())]
        self.windows = [(rate, cv, family) for _, rate, cv, family in rows if rate > 0 and family]
        self.hourly = np.zeros(24)
        self.six_hours: Counter[int] = Counter()
        for time, rate, *_ in rows:
            self.hourly[int(time // 3600) % 24] += rate * 600
            self.six_hours[int(time // 21600)] += rate * 600
        self.requests = sum(rate * 600 for _, rate, *_ in rows)
        self.days = len(rows) / 144
        lengths = trace.with_name(trace.name.replace("trace.csv", "dataset.json"))
        self.lengths = json.loads(lengths.read_text()) if lengths.exists() else {}

    def cv(self) -> float:
        """Return the median CV of the windows, weighted by their requests."""
        order = sorted((cv, rate) for rate, cv, _ in self.windows)
        upto = np.cumsum([rate for _, rate in order])
        return order[int(np.searchsorted(upto, upto[-1] / 2))][0]

    def family(self) -> str:
        """Return the family that fits most requests."""
        votes: Counter[str] = Counter()
        for rate, _, family in self.windows:
            votes[family.lower()] += rate
        return votes.most_common(1)[0][0]

    def shares(self, what: str) -> Counter[int]:
        """Return the lengths of the whole time, each six hours by their requests."""
        found: Counter[int] = Counter()
        for start, window in self.lengths.items():
            for length, share in ast.literal_eval(window[what]).items():
                if length >= 1 and self.six_hours[int(float(start) // 21600)]:
                    found[length] += share * self.six_hours[int(float(start) // 21600)]
        return found


def mixture(folder: Path, least_share: float) -> dict[str, Any]:
    """Return one set's clients whose lengths are stored: those of at least `least_share`, then all others as one."""
    clients = [Client(path) for path in sorted(folder.glob("chunk-*-trace.csv"))]
    total = sum(client.requests for client in clients)
    hourly = sum(client.hourly for client in clients)
    spreads = [(c.requests, c, c.shares("input_tokens"), c.shares("output_tokens")) for c in clients if c.lengths]
    spreads = sorted((row for row in spreads if row[2] and row[3]), key=lambda row: -row[0])
    kept = [row for row in spreads if row[0] >= least_share * total]
    rest = spreads[len(kept) :]
    if rest:
        kept.append((sum(row[0] for row in rest), None, *(pooled(rest, at) for at in (2, 3))))
    found: dict[str, Any] = {
        "requests": round(total),
        "days": round(clients[0].days, 2),
        "clients_seen": len(clients),
        "covered": round(sum(row[0] for row in kept) / total, 3),
        "pooled": len(rest),
        "hourly": [round(float(x), 3) for x in hourly / hourly.mean()],
    }
    edges = {}
    for at, what in ((2, "input"), (3, "output")):
        whole = pooled(kept, at)
        every = np.array(sorted(whole))
        weight = np.array([whole[length] for length in every.tolist()])
        edges[what] = used(every, COARSE)
        found[f"{what}_upto"] = edges[what]
        found[f"{what}_means"] = means(every, bins(every, edges[what]), len(edges[what]), weight)
    found["clients"] = [
        {
            "share": round(requests / total, 4),
            "family": client.family() if client else "gamma",
            "cv": round(client.cv(), 3) if client else 1.0,  # of many clients together: about Poisson
            "input": per_mille(given, edges["input"]),
            "output": per_mille(made, edges["output"]),
        }
        for requests, client, given, made in kept
    ]
    return found


def pooled(rows: list[tuple[Any, ...]], at: int) -> Counter[int]:
    """Return the lengths of several clients together, each by its requests."""
    found: Counter[int] = Counter()
    for row in rows:
        total = row[at].total()
        for length, share in row[at].items():
            found[length] += row[0] * share / total
    return found


def per_mille(shares: Counter[int], edges: list[int]) -> list[int]:
    """Return the shares of the bins in thousandths; where they do not sum to 1000, the largest takes the difference."""
    values = np.array(list(shares))
    found = np.bincount(bins(values, edges), np.array(list(shares.values())), len(edges))
    rounded = np.round(found / found.sum() * 1000).astype(int)
    rounded[rounded.argmax()] += 1000 - rounded.sum()
    return rounded.tolist()


# --- as TOML ---------------------------------------------------------------------------------------------------


def toml(name: str, table: dict[str, Any], about: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of one entry."""
    yield f"[{name}]"
    for key, value in {**about, **table}.items():
        if key == "date":
            yield f"date = {value}"
        elif key == "counts" or key == "clients":
            yield f"{key} = ["
            yield from (f"  {inline(row)}," for row in value)
            yield "]"
        else:
            yield f"{key} = {inline(value)}"
    yield ""


def inline(value: Any) -> str:
    """Return a value as TOML on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {inline(each)}" for key, each in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


HEAD = """\
# How long prompts and answers are, and how evenly they come: condensed from public traces by tools/workloads.py.
# Lengths are counted in bins; a bin holds the lengths above the one before it, up to its own `upto`. Beside each stands
# the mean length in it.
"""

ABOUT = {
    "azure-code": {
        "what": "Azure's coding service, November 2023",
        "source": "Azure/AzurePublicDataset @b469a11, data/AzureLLMInferenceTrace_code.csv (Patel et al., ISCA 2024)",
        "licence": "CC-BY 4.0",
        "date": "2023-11-16",
    },
    "azure-conv": {
        "what": "Azure's conversation service, November 2023",
        "source": "Azure/AzurePublicDataset @b469a11, data/AzureLLMInferenceTrace_conv.csv (Patel et al., ISCA 2024)",
        "licence": "CC-BY 4.0",
        "date": "2023-11-16",
    },
    "mooncake-conversation": {
        "what": "Kimi conversations, one hour",
        "source": "kvcache-ai/Mooncake @3b5a594, FAST25-release/traces/conversation_trace.jsonl (FAST 2025)",
        "licence": "Apache-2.0",
        "date": "2025-02-25",
    },
}
SERVEGEN = {
    "m-large": ("language/m-large", "Qwen's largest model of three at Alibaba Cloud Model Studio", 0.005),
    "m-mid": ("language/m-mid", "Qwen's middle model of three at Alibaba Cloud Model Studio", 0.01),
    "deepseek-r1": (
        "reason/deepseek-r1",
        "DeepSeek-R1 at Alibaba Cloud Model Studio, thoughts among the answers",
        0.01,
    ),
}


def lines(args: argparse.Namespace) -> Iterable[str]:
    """Yield the file."""
    yield HEAD
    made = {"azure-code": azure(args.azure, "code"), "azure-conv": azure(args.azure, "conv")}
    made["mooncake-conversation"] = mooncake(args.mooncake)
    for name, trace in made.items():
        yield from toml(f"workload.{name}", joint(trace), ABOUT[name])
    for name, (folder, what, least) in SERVEGEN.items():
        about = {
            "what": what,
            "source": f"alibaba/ServeGen @f891d11, data/{folder} (Xiang et al., arXiv 2505.09999)",
            "licence": "Apache-2.0",
            "date": "2025-06-09",
        }
        yield from toml(f"mixture.{name}", mixture(args.servegen / "data" / folder, least), about)


def main() -> None:
    """Read the folders and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("azure", "mooncake", "servegen"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    print("\n".join(lines(parser.parse_args())).rstrip())


if __name__ == "__main__":
    main()
