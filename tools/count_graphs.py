"""Capture small models with torch, fuse what patterns match, and store the counts for where torch is missing.

python tools/count_graphs.py            # store all
python tools/count_graphs.py --check    # exit 1 if one is stale
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence

from costlab.chips.porting.counted import COUNTS, CountedGraph
from costlab.nn.chips.capture import capture
from costlab.nn.chips.fusion import fuse
from costlab.nn.chips.small import small_model

#: Models and whose modules they are made of.
COUNTED = [
    (model, maker)
    for maker in ("costlab", "transformers")
    for model in ("llama-3.1-8b", "mimo-v2.5-pro", "deepseek-v3", "deepseek-v4-pro")
]


def count(model: str, maker: str) -> CountedGraph:
    """Capture a small model, fuse it, and count both graphs.

    Args:
        model: key in the catalog.
        maker: whose modules.
    """
    made = small_model(model, maker)  # type: ignore[arg-type]
    captured = capture(made.module, made.inputs, made.name)
    found = fuse(captured)
    before, _, after = found.stages
    nodes = {node.name: node for node in (*found.cleaned.graph.nodes, *captured.graph.nodes)}
    times = [next((made.times(nodes[name]) for name in each.replaced if name in nodes), 1) for each in found.fused]
    return CountedGraph(
        model=model,
        maker=maker,
        layers=len(made.layers),
        whole_layers=sum(made.stands_for),
        calls=before.nodes,
        whole_calls=sum(made.times(node) for node in captured.graph.nodes),
        operators=len({node.op for node in captured.graph.nodes}),
        launches=before.launches,
        fused_launches=after.launches,
        matches=len(found.fused),
        whole_matches=sum(times),
        whole_replaced=sum(number * len(each.replaced) for number, each in zip(times, found.fused, strict=True)),
        written_bytes=before.written_bytes,
        fused_written_bytes=after.written_bytes,
        peak_bytes=before.peak_bytes,
        fused_peak_bytes=after.peak_bytes,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Count, and store or compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with what is stored")
    options = parser.parse_args(argv)
    rows = [dataclasses.asdict(count(model, maker)) for model, maker in COUNTED]
    text = "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n]\n"
    if options.check and text != COUNTS.read_text(encoding="utf-8"):
        sys.exit(f"{COUNTS.name} is stale; run python tools/count_graphs.py")
    if not options.check:
        COUNTS.write_text(text, encoding="utf-8")
    print("\n".join(str(row) for row in rows))


if __name__ == "__main__":
    main()
