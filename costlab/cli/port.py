"""The verb port, which needs torch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from costlab import catalog
from costlab.arch.configs import STDIN
from costlab.chips.porting import (
    OperatorRow,
    RouteReport,
    check_opset,
    launch_time,
    plan_memory,
    route_changes,
    route_report,
    rule_sentences,
)
from costlab.cli.arguments import add_verb, count_arg, several, size_arg
from costlab.cli.output import Answer, Column, Row, sources, view
from costlab.cli.ported import cards_lines, cards_part, fused_lines, fused_part, onnx_lines, onnx_part
from costlab.text import bytes_text, columns

#: What is asked of torch_npu where nobody says which one: the newest that has a catalogued plug-in and a torch here.
TORCH = "2.13"
#: Opset of an ONNX file for CANN's parser.
OPSET = 18


def _port(args: argparse.Namespace) -> Answer:
    if args.opset is not None and not args.onnx:
        raise ValueError(f"--opset {args.opset} is for --onnx")
    args.opset = check_opset(args.opset or OPSET) if args.onnx else None
    if args.model == STDIN:
        raise ValueError(f"unknown model {STDIN!r}: give a config.json by its path")
    if Path(args.model).is_dir():
        args.model = str(Path(args.model) / "config.json")
    if not args.model.endswith(".json"):
        args.model = args.model.lower()
    made, captured = _captured(args)
    found = captured if args.route == "eager" else captured.decomposed()
    reports = [route_report(found.graph, version, made.times) for version in args.torch]
    parts, below = _parts(captured, args)
    rows = [{**_row(report, made, found, args), **parts} for report in reports]
    known = catalog.tables().models
    used = sources(*([("model", args.model, known[args.model])] if args.model in known else []))
    lines = [*_lines(rows[0], reports[0], args), *_change_lines(reports), *below]
    lacking = any(report.unsupported(args.route) for report in reports)
    return Answer(rows, _table(reports[0], args), lines, _notes(made, args), used, status=1 if lacking else 0)


def _parts(captured: Any, args: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Return the further parts that were asked for, null for the others, and what people see of them."""
    fused = fused_part(captured, args.seed, args.size == "real") if args.fuse else None
    file = onnx_part(_small(args), args.opset) if args.onnx else None
    cards = cards_part(args) if args.cards else None
    lines = [
        *(fused_lines(fused) if fused else []),
        *(onnx_lines(file) if file else []),
        *(cards_lines(cards) if cards else []),
    ]
    return {"fusion": fused, "onnx": file, "cards": cards}, lines


def _captured(args: argparse.Namespace) -> tuple[Any, Any]:
    """Return the model that is captured, and its graph of eager calls.

    Raises:
        ValueError: no torch, no transformers where its modules are asked for, a model that cannot be captured.
    """
    try:
        from costlab.nn.chips import capture
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ValueError("it captures a running model, which needs torch: pip install 'costlab[nn]'") from None
    args.maker = args.maker or ("transformers" if args.model.endswith(".json") else "costlab")
    made = _made(args, args.size, args.expert_form)
    return made, capture.capture(made.module, made.inputs, made.name)


def _made(args: argparse.Namespace, size: Any, experts: Any) -> Any:
    """Return the model with few layers."""
    from costlab.nn.chips import architectures, small

    model = architectures.read_config(args.model) if args.model.endswith(".json") else args.model
    try:
        return small.small_model(model, args.maker, size, experts, args.batch, args.tokens, args.seed)
    except ModuleNotFoundError as error:
        raise ValueError(str(error)) from error


def _small(args: argparse.Namespace) -> Any:
    """Return the model in the form that ONNX has: narrow, with weights, experts gathered."""
    return _made(args, "small", "gathered")


# --- rows --------------------------------------------------------------------------------------------------------


def _row(report: RouteReport, made: Any, captured: Any, args: argparse.Namespace) -> dict[str, Any]:
    graph, memory = captured.graph, plan_memory(captured.graph)
    lacking = report.unsupported(args.route)
    return {
        "model": args.model,
        "maker": args.maker,
        "torch": report.torch_version,
        "route": args.route,
        "captured_layers": list(made.layers),
        "whole_layers": sum(made.stands_for),
        "captured_calls": len(graph.nodes),
        "calls": report.nodes,
        "operator_kinds": len(report.rows),
        "unsupported_calls": sum(row.count for row in lacking),
        "launches": report.launches,
        "launch_s": launch_time(graph, None, made.times).seconds if args.route == "eager" else None,
        "written_bytes": report.written_bytes,
        "copied_bytes": report.copied_bytes,
        "peak_bytes": memory.peak_bytes,
        "unshared_bytes": memory.unshared_bytes,
        "operators": [_operator(row, args) for row in report.rows],
        "broken_rules": list(rule_sentences(report.broken)) if args.size == "real" else None,
    }


def _operator(row: OperatorRow, args: argparse.Namespace) -> dict[str, Any]:
    return {
        "operator": row.op,
        "calls": row.count,
        "eager": row.eager,
        "graph": row.graph,
        "supported": not row.is_unsupported(args.route),
        "kernels": list(row.names),
        "launches": row.launches,
        "copied_bytes": row.copied_bytes,
        "reads": list(row.inputs),
        "makes": list(row.outputs),
        "modules": list(row.modules),
        "lines": list(row.lines),
        "nearest_fused": row.nearest,
    }


def _table(report: RouteReport, args: argparse.Namespace) -> list[Row]:
    """Return the operators, those that the route lacks first."""
    rows = sorted(report.rows, key=lambda row: not row.is_unsupported(args.route))
    shown = [_operator(row, args) for row in rows]
    return view(
        shown,
        Column("operator", "operator"),
        Column("calls", "calls"),
        Column("eager", "eager"),
        Column("graph", "graph"),
        Column("launches", "launches"),
        Column("copied_bytes", lambda row: row["copied_bytes"] or None),
        Column("kernels", lambda row: _few(row["kernels"], 2)),
    )


def _few(names: Sequence[str], most: int) -> str | None:
    """Return the first names, and how many more there are."""
    more = f" +{len(names) - most}" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}" if names else None


def _lines(row: Row, report: RouteReport, args: argparse.Namespace) -> list[str]:
    layers = ", ".join(map(str, row["captured_layers"]))
    lacking = report.unsupported(args.route)
    return [
        f"{row['calls']:,} calls of {row['operator_kinds']} operators in {row['whole_layers']} layers; one of each "
        f"kind was captured ({layers}), {row['captured_calls']:,} calls",
        f"{row['launches']:,} launches{_launch_text(row)}; operators write {bytes_text(row['written_bytes'])} for one "
        f"another; memory between those captured peaks at {bytes_text(row['peak_bytes'])}",
        _fallback_text(report),
        *(_lacks(each, args.route) for each in lacking),
        *(row["broken_rules"] or ()),
        *report.cautions,
    ]


def _fallback_text(report: RouteReport) -> str:
    """Say what operators without a kernel copy to the host and back."""
    calls = sum(row.count for row in report.rows if row.eager == "cpu")
    if not calls:
        return "no operator falls back to the CPU when called one by one"
    return f"{calls:,} calls fall back to the CPU, which copies {bytes_text(report.copied_bytes)} there and back"


def _launch_text(row: Row) -> str:
    """What starting each operator by itself takes, beside its work."""
    if row["launch_s"] is None:
        return ""
    return f", {row['launch_s'] * 1e3:.3g} ms one by one by Ascend's performance model"


def _lacks(row: OperatorRow, route: Any) -> str:
    """Say what a route lacks: the operator, its calls, who calls it, and what is near."""
    near = f"; nearest fused operator: {row.nearest}" if row.nearest else ""
    return f"{row.op} is {row.status(route)}: {row.count} calls in {_few(row.modules, 3) or 'the model itself'}{near}"


def _change_lines(reports: Sequence[RouteReport]) -> list[str]:
    """Say which operators other versions of torch run otherwise."""
    lines = []
    for other in reports[1:]:
        changed = route_changes(reports[0], other)
        rows = [[op, *(f"{row.eager}, {row.graph}" for row in pair)] for op, pair in changed.items()]
        heads = ["operator: eager, graph", f"torch {reports[0].torch_version}", f"torch {other.torch_version}"]
        same = f"torch {other.torch_version} runs every operator as {reports[0].torch_version} does"
        lines += columns([heads, *rows]).splitlines() if rows else [same]
    return lines


def _notes(made: Any, args: argparse.Namespace) -> list[str]:
    form = (
        "as traced: each node is a call" if args.route == "eager" else "decomposed to core ATen, as a compiler has it"
    )
    reduced = ", ".join(f"{name} {after} for {before}" for name, (before, after) in made.reduced.items())
    widths = "real widths, weights without memory" if args.size == "real" else f"reduced: {reduced}"
    return [
        f"modules of {args.maker}, {form}; {args.batch} x {args.tokens} tokens; {widths}",
        *made.remarks,
        "routes are read from the repositories of Ascend's plug-in and compiler; whether the model runs there, and how "
        "fast, only an Ascend machine can tell",
    ]


# --- options -----------------------------------------------------------------------------------------------------


def add_verbs(verbs: Any) -> None:
    """Add port."""
    about = "what becomes of a model's operators on Ascend; needs torch"
    example = "port mimo-v2-flash --torch 2.13,2.1 --size small --onnx --cards 8,16"
    verb = add_verb(verbs, "port", _port, about, example)
    verb.add_argument("model", metavar="MODEL", help="see `costlab models`; or a config.json of transformers")
    makers = "whose modules are captured: costlab or transformers (default costlab; of a config.json transformers)"
    verb.add_argument("--of", dest="maker", choices=("costlab", "transformers"), metavar="MAKER", help=makers)
    sizes = "real: one layer of each kind in BF16, shapes alone; small: narrower, with weights (default real)"
    verb.add_argument("--size", choices=("real", "small"), default="real", metavar="SIZE", help=sizes)
    forms = ("gathered", "grouped", "loop")
    multiply = f"how experts multiply: {', '.join(forms)} (default: grouped if real, gathered if small)"
    verb.add_argument("--experts", dest="expert_form", choices=forms, metavar="FORM", help=multiply)
    verb.add_argument("--batch", type=count_arg, default=2, help="sequences of the example (default 2)")
    verb.add_argument("--tokens", type=count_arg, default=32, help="of each (default 32)")
    verb.add_argument("--seed", type=size_arg, default=0, help="of weights and example (default 0)")
    routes = "eager: operators called one by one; graph: a captured graph for the compiler (default eager)"
    verb.add_argument("--route", choices=("eager", "graph"), default="eager", metavar="ROUTE", help=routes)
    versions = f"versions of torch and its plug-in, with commas between them (default {TORCH})"
    verb.add_argument("--torch", type=several(str), default=[TORCH], metavar="VERSION,...", help=versions)
    verb.add_argument("--fuse", action="store_true", help="fuse operators, each match checked by numbers first")
    verb.add_argument("--onnx", action="store_true", help="export a small form, run it in ONNX Runtime, compare")
    verb.add_argument("--opset", type=count_arg, help=f"of the ONNX file (default {OPSET}, the last that CANN takes)")
    cards = "spread a layer's experts over so many cards, with commas between them, and count what the links carry"
    verb.add_argument("--cards", type=several(count_arg), default=[], metavar="CARDS,...", help=cards)
