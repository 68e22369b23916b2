"""What is published of engines that prefill and decode together or apart: rates, gains, latencies, transfers, costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from costlab import catalog
from costlab.catalog import ServingGain, ServingRow, ServingTable, SplitCluster, workloads
from costlab.explore.reference.listing import Sourced, sourced
from costlab.text import number_text

E = TypeVar("E")


def phase_rates() -> Sourced:
    """Return what a chip serves that does both phases, and what one serves that does one of them."""
    return _listed(
        "rates",
        catalog.tables().serving.rates,
        lambda each: {
            "workload": each.what,
            "chip": each.chip,
            "both phases": each.both_requests_s,
            "prefill alone": each.prefill_requests_s,
            "decode alone": each.decode_requests_s,
            "within objectives": f"{each.attainment:.0%}",
            "read": each.read,
        },
        "Requests per second of a chip, within the objectives",
        bold="both phases",
    )


def serving_objectives() -> Sourced:
    """Return workloads of published evaluations, with the times within which their requests are to be served."""
    return _listed(
        "objectives",
        catalog.tables().serving.objectives,
        lambda each: {
            "application": each.application,
            "dataset": each.dataset,
            "model": each.model,
            "input tokens": each.input_tokens,
            "output tokens": each.output_tokens,
            "first token, s": each.ttft_s,
            "each token, s": each.tpot_s,
            "requests within both": f"{each.attainment:.0%}",
            "read": each.read,
        },
        "Workloads and their objectives",
        bold="application",
    )


def fitted_steps() -> Sourced:
    """Return the seconds of a step that others fitted to measurements of their engines."""
    return _listed(
        "steps",
        catalog.tables().step_times,
        lambda each: {
            "engine": each.engine,
            "model": each.model,
            "chips": each.tensor_parallel,
            "prefill, ms": f"{each.prefill.constant_ms:.1f} + {each.prefill.token_ms:.3g} n",
            "decode, ms": f"{each.decode.constant_ms:.1f} + {each.decode.sequence_ms:.3g} B + "
            f"{each.decode.context_ms:.3g} S",
            "from B on": each.large_from,
            "decode then, ms": f"{each.decode_large.constant_ms:.1f} + {each.decode_large.sequence_ms:.3g} B + "
            f"{each.decode_large.context_ms:.3g} S",
            "tokens of cache": each.kv_tokens,
        },
        "Steps of engines on A100: n tokens of prompts, B sequences with S tokens of context in all",
        filters=("engine",),
        bold="model",
    )


def traffic_lengths() -> Sourced:
    """Return how long the requests of public traces are, and how evenly they come."""
    stored = workloads.workloads()
    rows: list[tuple[dict[str, Any], Any]] = [
        (
            {
                "traffic": trace.what,
                "requests": trace.requests,
                "requests/s": f"{trace.requests / trace.span_s:.2f}",
                "input tokens": round(trace.input_tokens / trace.requests),
                "output tokens": round(trace.output_tokens / trace.requests),
                "CV of the gaps": f"{trace.gap_cv:.2f}",
                "clients": None,
                "licence": trace.licence,
            },
            trace,
        )
        for trace in stored.workloads.values()
    ]
    rows += [
        (
            {
                "traffic": mixture.what,
                "requests": mixture.requests,
                "requests/s": f"{mixture.requests / mixture.days / 86400:,.2f}",
                "input tokens": None,
                "output tokens": None,
                "CV of the gaps": None,
                "clients": mixture.clients_seen,
                "licence": mixture.licence,
            },
            mixture,
        )
        for mixture in stored.mixtures.values()
    ]
    return sourced("traffic", rows, "Public traces that load is made of: means of a request", bold="traffic")


def split_clusters() -> Sourced:
    """Return clusters whose machines prefill or decode."""
    return _listed(
        "clusters",
        catalog.tables().serving.clusters,
        lambda each: {
            "design": each.design,
            "workload": each.workload,
            "prefill": _machines(each.prefill_machines, each.prefill_chip),
            "decode": _machines(each.decode_machines, each.decode_chip),
            "requests/s": each.requests_s,
            "instead of": _instead(each),
            "read": each.read,
        },
        "Machines of 8 chips that prefill, and machines that decode",
        bold="design",
    )


def _machines(count: int, chip: str) -> str:
    return f"{count} with {catalog.chip(chip).name}"


def _instead(cluster: SplitCluster) -> str | None:
    return None if cluster.both_machines is None else f"{_machines(cluster.both_machines, cluster.prefill_chip)}, both"


def serving_gains() -> Sourced:
    """Return what a change of layout or scheduling gained or cost, as a factor."""
    return _listed(
        "gains",
        catalog.tables().serving.gains,
        lambda each: {
            "change": each.lever,
            "compared": each.what,
            "over": each.over,
            "in": each.measure,
            "factor": " to ".join(f"{factor:g}" for factor in each.factors),
            "by": _by(each),
            "on": _on(each.model, each.hardware, _lengths(each.input_tokens, each.output_tokens)),
            "read": each.read,
        },
        "Factors over a baseline; below 1 the change costs",
        filters=("change",),
        bold="factor",
    )


def _by(gain: ServingGain) -> str:
    how = "simulation" if gain.simulated else "report without numbers" if gain.rounded else "measurement"
    return how if gain.equal_chips else f"{how}, unlike chips"


def _on(*words: str | None) -> str | None:
    return ", ".join(filter(None, words)) or None


def _lengths(inputs: int | None, outputs: int | None) -> str | None:
    return _on(f"{inputs:,} in" if inputs else None, f"{outputs:,} out" if outputs else None)


def latency_tables() -> Sourced:
    """Return published latencies and rates, a row for each setting that was tried."""
    rows = (
        ({**_what(table), **_row(row), "read": table.read}, table)
        for table in catalog.tables().serving.tables.values()
        for row in table.rows
    )
    return sourced("latencies", rows, "Latencies and rates by setting", ("table",), bold="setting")


def _what(table: ServingTable) -> dict[str, Any]:
    load = f"{table.requests_s:g} requests/s" if table.requests_s else None
    if table.concurrency:
        load = f"{table.concurrency} requests at once"
    lengths = _lengths(table.input_tokens, table.output_tokens)
    return {"table": table.what, "on": _on(table.model, table.hardware, lengths, load)}


def _row(row: ServingRow) -> dict[str, Any]:
    def ms(seconds: float | None) -> str | None:
        return None if seconds is None else f"{seconds * 1e3:,.5g}"

    return {
        "setting": row.setting,
        "first token, mean, ms": ms(row.ttft_mean_s),
        "median": ms(row.ttft_p50_s),
        "of 99%": ms(row.ttft_p99_s),
        "gap, mean, ms": ms(row.gap_mean_s),
        "gap of 99%": ms(row.gap_p99_s),
        "to the end, mean, ms": ms(row.end_to_end_mean_s),
        "to the end, median": ms(row.end_to_end_p50_s),
        "output tokens/s": row.output_tokens_s,
        "all tokens/s": row.total_tokens_s,
        "preemptions": row.preemptions,
    }


def kv_transfers() -> Sourced:
    """Return measured times of moving keys and values between engines, a row for each prompt length."""
    rows = (
        (
            {
                "model": table.model,
                "on": table.hardware,
                "input tokens": tokens,
                "bytes moved": f"{moved / 1e9:.3g} GB",
                "transfer, ms": f"{seconds * 1e3:.2f}",
                "GB/s": f"{moved / seconds / 1e9:.0f}",
                "first token, ms": f"{ttft * 1e3:,.0f}",
                "read": table.read,
            },
            table,
        )
        for table in catalog.tables().serving.transfers.values()
        for tokens, moved, seconds, ttft in zip(
            table.input_tokens, table.moved_bytes, table.transfer_s, table.ttft_s, strict=True
        )
    )
    return sourced("transfers", rows, "Keys and values moved between engines", ("model",), bold="transfer, ms")


def node_rates() -> Sourced:
    """Return tokens per second of nodes that do one phase."""
    return _listed(
        "nodes",
        catalog.tables().serving.nodes,
        lambda each: {
            "phase": each.phase,
            "model": catalog.model(each.model).name,
            "chip": catalog.chip(each.chip).name,
            "nodes": each.nodes,
            "tokens/s of a node": each.tokens_s,
            "by": each.engine,
            "input tokens": each.input_tokens,
            "context": each.context,
            "prefill tokens a chip": each.tokens_per_chip,
            "sequences a chip": each.batch_per_chip,
            "other phase": "taken as endlessly fast" if each.alone else "served users" if each.production else None,
            "not real": each.simulated or None,
            "read": each.read,
        },
        "Tokens per second of a node of 8 chips",
        filters=("phase",),
        bold="tokens/s of a node",
    )


def output_prices() -> Sourced:
    """Return costs of output tokens that deployments claim, with what they were reckoned from."""
    return _listed(
        "output-prices",
        catalog.tables().serving.output_prices,
        lambda each: {
            "deployment": each.what,
            "a million output tokens": f"${each.usd_per_million:.2f}",
            "rent of a chip-hour": f"${each.usd_per_chip_hour:g}" + ("" if each.rent_stated else ", not stated"),
            "input tokens": each.input_tokens,
            "output tokens": each.output_tokens,
        },
        "Costs of output tokens, as published",
        bold="a million output tokens",
    )


def layout_regimes() -> Sourced:
    """Return which layout studies find best, by how tight the objectives are."""
    return _listed(
        "regimes",
        catalog.tables().serving.regimes,
        lambda each: {
            "first token": each.ttft,
            "each token": each.tpot,
            "best": each.best,
            "in words": each.says,
            "figures": _figures(each.values or {}) or None,
            "by": "simulation" if each.simulated else "measurement",
            "read": each.read,
        },
        "The best layout by objective",
        bold="best",
    )


def single_figures() -> Sourced:
    """Return single figures about serving: parameters, overheads, errors of simulators."""
    return _listed(
        "single",
        catalog.tables().serving.figures,
        lambda each: {"what": each.says, "figures": _figures(each.values), "read": each.read},
        "Single figures",
    )


def _figures(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {number_text(value)}" for name, value in values.items())


def _listed(
    slug: str,
    entries: Mapping[str, E],
    cells: Callable[[E], dict[str, Any]],
    caption: str,
    filters: Iterable[str] = (),
    bold: str | None = None,
) -> Sourced:
    """Return a table with a row for each entry."""
    rows: Any = ((cells(entry), entry) for entry in entries.values())
    return sourced(slug, rows, caption, tuple(filters), bold)
