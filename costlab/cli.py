"""The command line: each verb is one public function of the package, its result a table or JSON.

Errors go to stderr with exit status 2 and say what was wrong and what would be right.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from costlab import __version__, arch, catalog, moe, prices, roofline
from costlab.arch.entries import MOST


@dataclass(frozen=True)
class Answer:
    """What a verb found: rows of one shape, and lines of explanation below them."""

    rows: Sequence[Mapping[str, Any]]
    notes: Sequence[str] = ()


class _Parser(argparse.ArgumentParser):
    """Shows the verb's own usage behind the one line that says what was wrong."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n{self.format_usage()}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        argv: arguments without the program's name; None takes the shell's.

    Chapter: prices
    """
    parser = _build_parser()
    args = parser.parse_args(argv)
    try:
        answer: Answer = args.run(args)
    except ValueError as error:
        print(f"costlab {args.verb}: {error}", file=sys.stderr)
        return 2
    try:
        print(_as_json(answer) if args.json else _as_table(answer), flush=True)
    except BrokenPipeError:  # the reader (head, less) has seen enough
        sys.stderr.close()
    return 0


# --- the verbs -------------------------------------------------------------------------------------------------


def _models(args: argparse.Namespace) -> Answer:
    rows = []
    for key, model in arch.models().items():
        counts = model.params
        rows.append(
            {
                "model": key,
                "layers": len(model.layers),
                "attention": " + ".join(sorted({a.kind for a, _ in model.layers})),
                "total_B": counts.total / 1e9,
                "active_B": counts.active / 1e9,
                "published": f"{model.record.published.total} / {model.record.published.active or '-'}",
                "kv_B_per_token": float(model.kv_bytes(131072).growing) / 131072,
                "context": model.record.context,
            }
        )
    return Answer(
        rows, ["total without multi-token-prediction modules; active with the output head, without embedding"]
    )


def _kv(args: argparse.Namespace) -> Answer:
    rows = []
    for model in _chosen(args.models):
        kv = model.kv_bytes(args.tokens)
        rows.append(
            {
                "model": model.key,
                "tokens": args.tokens,
                "total_GB": float(kv.total) / 1e9,
                "growing_GB": float(kv.growing) / 1e9,
                "of_which_index_GB": float(kv.index) / 1e9,
                "fixed_MB": float(kv.fixed) / 1e6,
                "state_MB": float(kv.state) / 1e6,
                "bytes_per_token": float(kv.growing) / args.tokens,
            }
        )
    return Answer(_with_ratio(rows, "total_GB"), ["GB = 1e9 bytes; total = growing + fixed, at the catalogued storage"])


def _flops(args: argparse.Namespace) -> Answer:
    rows = []
    for model in _chosen(args.models):
        count = model.decode_flops(args.tokens) if args.phase == "decode" else model.prefill_flops(args.tokens)
        rows.append(
            {
                "model": model.key,
                "tokens": args.tokens,
                "phase": args.phase,
                **{f"{name}_GFLOP": float(part) / 1e9 for name, part in count.grouped().items()},
                "total_GFLOP": float(count.total) / 1e9,
                "fp8_equivalent_GFLOP": float(count.weighted()) / 1e9,
            }
        )
    what = "one token at that context" if args.phase == "decode" else "the whole prompt"
    return Answer(_with_ratio(rows, "fp8_equivalent_GFLOP"), [f"FLOPs of {what}; weights {_weights()}"])


def _roofline(args: argparse.Namespace) -> Answer:
    node = roofline.deployment(
        args.model,
        args.chip,
        args.gpus,
        tensor_parallel=args.tensor_parallel,
        efficiency=roofline.Efficiency(args.compute_efficiency, args.memory_efficiency, args.link_efficiency),
    )
    rows = []
    for phase in ("prefill", "decode"):
        step = node.prefill(args.tokens) if phase == "prefill" else node.decode(args.batch, args.tokens)
        rows.append(
            {
                "phase": phase,
                "step_ms": step.seconds * 1e3,
                "compute_ms": step.compute_s * 1e3,
                "memory_ms": step.memory_s * 1e3,
                "link_ms": step.link_s * 1e3,
                "bound": step.bound,
                "tokens_per_s": step.tokens_per_s,
                "usd_per_M_tokens": node.usd_per_million(step, args.rent),
            }
        )
    return Answer(rows, _roofline_notes(args, node))


def _roofline_notes(args: argparse.Namespace, node: roofline.Deployment) -> list[str]:
    fits = node.max_batch(args.tokens)
    gb = node.weight_bytes_per_chip / 1e9
    share = f"{gb:.1f} GB of weights on each {node.chip.name} with {node.chip.memory_bytes / 1e9:.0f} GB"
    notes = [f"{share}; room for {fits} sequences of {args.tokens} tokens"]
    if args.batch > fits:
        notes.append(f"batch {args.batch} does not fit: at most {fits}")
    eff = node.efficiency
    notes.append(
        f"efficiency {eff.compute:g} compute, {eff.memory:g} memory, {eff.link:g} link; {args.rent:g} USD/chip-h"
    )
    return notes


def _bill(args: argparse.Namespace) -> Answer:
    load = prices.Workload(args.input, args.output, args.hit_rate, args.calls, args.write)
    names = args.models or ["deepseek-v4-pro", "mimo-v2.5-pro", "qwen-plus", "gpt-5.5"]
    rows = []
    for name in names:
        due = prices.bill(name, load, args.date, currency=args.currency)
        rows.append(
            {
                "product": due.row.product,
                "currency": due.currency,
                "hit": due.hit,
                "miss": due.miss,
                "write": due.write,
                "output": due.output,
                "total": due.total,
                "price_since": f"{due.row.valid_from:%Y-%m-%d}",
                "window": due.row.window or "all day",
            }
        )
    return Answer(_with_ratio(rows, "total"), [f"prices at {prices.moment(args.date):%Y-%m-%d %H:%M} UTC"])


def _moe(args: argparse.Namespace) -> Answer:
    found = moe.summary(args.model, args.batch, args.ranks)
    return Answer([{"model": found.model, **dataclasses.asdict(found)}] if args.json else _facts(found.rows()))


def _facts(pairs: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"what": what, "value": value} for what, value in pairs.items()]


# --- arguments -------------------------------------------------------------------------------------------------


def _build_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="costlab", description="What a language model's token costs, from public facts.")
    parser.add_argument("--version", action="version", version=f"costlab {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)

    _add(verbs, "models", _models, "the models in the catalog, with computed and published sizes")

    kv = _add(verbs, "kv", _kv, "bytes of KV cache at a context length")
    kv.add_argument("models", nargs="+", metavar="MODEL", help="see `costlab models`")
    kv.add_argument("--tokens", type=_count, required=True, help="context length, e.g. 1048576, 128K or 1M")

    flops = _add(verbs, "flops", _flops, "FLOPs of one decoded token or of a prompt")
    flops.add_argument("models", nargs="+", metavar="MODEL", help="see `costlab models`")
    flops.add_argument("--tokens", type=_count, required=True, help="context or prompt length")
    flops.add_argument("--phase", choices=("prefill", "decode"), default="decode")

    experts = _add(verbs, "moe", _moe, "experts of a model: what a token computes, reads and sends")
    experts.add_argument("model", metavar="MODEL", help="a model with experts; see `costlab models`")
    experts.add_argument("--batch", type=_count, default=1, help="tokens in one decode step (default 1)")
    experts.add_argument("--ranks", type=_count, default=1, help="ranks that share the experts (default 1)")

    _add_roofline(_add(verbs, "roofline", _roofline, "seconds, tokens per second and cost on chips"))
    _add_bill(_add(verbs, "bill", _bill, "what a workload costs at list prices"))
    return parser


def _add_roofline(roof: argparse.ArgumentParser) -> None:
    roof.add_argument("model", metavar="MODEL", help="see `costlab models`")
    roof.add_argument("--chip", required=True, help=", ".join(catalog.load().chips))
    roof.add_argument("--gpus", type=_count, required=True, help="number of chips")
    roof.add_argument("--batch", type=_count, required=True, help="sequences decoded together, on all chips")
    roof.add_argument("--tokens", type=_count, required=True, help="prompt length and context")
    roof.add_argument("--tensor-parallel", type=_count, default=1, help="chips that share the non-expert weights")
    roof.add_argument("--rent", type=float, default=2.0, help="USD per chip-hour (default 2)")
    for part in ("compute", "memory", "link"):
        roof.add_argument(f"--{part}-efficiency", type=float, default=1.0, help="share of the peak reached (default 1)")


def _add_bill(bill: argparse.ArgumentParser) -> None:
    bill.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(prices.products()))
    bill.add_argument("--input", type=_size, required=True, help="input tokens of one call")
    bill.add_argument("--output", type=_size, required=True, help="output tokens of one call")
    bill.add_argument("--hit-rate", type=float, required=True, help="share of input tokens that hit the cache, 0 to 1")
    bill.add_argument("--write", type=_size, default=0, help="input tokens written to a billed cache")
    bill.add_argument("--calls", type=_count, default=1)
    bill.add_argument("--date", default=prices.LESSON_DAY.isoformat(), help="e.g. 2026-09-01 or 2026-09-01T02:00 (UTC)")
    bill.add_argument("--currency", default="USD", type=str.upper, help="USD or CNY")


def _add(verbs: Any, name: str, run: Callable[[argparse.Namespace], Answer], help: str) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=help, description=help)
    verb.add_argument("--json", action="store_true", help="print JSON instead of a table")
    verb.set_defaults(run=run)
    return verb


def _size(text: str, least: int = 0) -> int:
    """Read a token count: 4096, 128K (x1024) or 1M (x1024²), at least `least`."""
    unit = {"K": 1024, "M": 1024**2}.get(text[-1:].upper(), 1)
    digits = text[:-1] if unit > 1 else text
    try:
        value = float(digits) * unit
        whole = int(value)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} should be a whole number such as 4096, 128K or 1M") from None
    if whole != value or not least <= whole <= MOST:
        raise argparse.ArgumentTypeError(f"{text!r} should be a whole number from {least} to 2**53")
    return whole


def _count(text: str) -> int:
    """Read a count of at least 1."""
    return _size(text, 1)


def _chosen(names: Sequence[str]) -> list[arch.Model]:
    return [arch.load(name) for name in names]


# --- output ----------------------------------------------------------------------------------------------------


def _with_ratio(rows: list[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    """Add each row's ratio to the first, where there are several to compare."""
    if len(rows) > 1:
        for row in rows:
            row["of_first"] = row[column] / rows[0][column] if rows[0][column] else None
    return rows


def _weights() -> str:
    return ", ".join(f"{name} x{weight:g}" for name, weight in arch.FP8_EQUIVALENTS.items())


def _as_json(answer: Answer) -> str:
    return json.dumps({"rows": list(answer.rows), "notes": list(answer.notes)}, indent=2, ensure_ascii=False)


def _as_table(answer: Answer) -> str:
    heads = list(answer.rows[0])
    texts = [[_cell(row[h]) for h in heads] for row in answer.rows]
    widths = [max(len(h), *(len(t[i]) for t in texts)) for i, h in enumerate(heads)]
    right = [not isinstance(answer.rows[0][h], str) for h in heads]
    lines = [_line(heads, widths, right)] + [_line(t, widths, right) for t in texts]
    return "\n".join(lines + [f"  {note}" for note in answer.notes])


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True))
    return "  ".join(padded).rstrip()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    return "-" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())
