"""The pages around the chapters: they show every entry of the catalog and every claim, and no number that is typed."""

import dataclasses
import json
import operator
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from costlab import arch, catalog, claims
from costlab.catalog import workloads
from costlab.catalog.cache_rules import cache_rules
from costlab.explore import reference
from costlab.explore.reference.hardware import OFFER_KINDS

BOOK = Path(__file__).parents[2] / "book"
CATALOG = catalog.tables()

#: The page that shows each table of the catalog.
PAGES = {
    "models": "reference/models",
    "draft_heads": "reference/models",
    "chips": "reference/chips",
    "costs": "reference/chips",
    "owning": "reference/chips",
    "runs": "reference/chips",
    "constants": "reference/chips",
    "operation_energies": "reference/chips",
    "energies": "reference/chips",
    "prices": "reference/price-lists",
    "windows": "reference/price-lists",
    "successions": "reference/price-lists",
    "services": "reference/price-lists",
    "aliases": "reference/price-lists",
    "fx": "reference/price-lists",
    "margins": "reference/margins",
    "days": "reference/serving",
    "traces": "reference/serving",
    "media": "reference/serving",
    "prefetch": "reference/serving",
    "curves": "reference/serving",
    "positions": "reference/serving",
    "entropy_fits": "reference/serving",
    "speedups": "reference/serving",
    "step_times": "reference/serving",
    "lever_figures": "reference/serving",
    "traffic": "reference/serving",
    "articles": "claims",
    "claims": "claims",
    "claimed_models": "claims",
    "scenarios": "claims",
    **{f"serving.{field.name}": "reference/serving" for field in dataclasses.fields(CATALOG.serving)},
}


class Rows(HTMLParser):
    """The rows of the tables in a page's stored outputs, each as its cells' texts, and the texts of lists."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.items: list[str] = []
        self.links: set[str] = set()
        self._into: list[str] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "li"):
            self._into = self.rows[-1] if tag == "td" else self.items
            self._into.append("")
        elif tag == "a":
            self.links.add(dict(attrs)["href"] or "")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "li"):
            self._into = None

    def handle_data(self, data: str) -> None:
        if self._into is not None:
            self._into[-1] += data


def cells_of(page: str) -> list[dict]:
    return json.loads((BOOK / f"{page}.ipynb").read_text())["cells"]


def shown(page: str) -> Rows:
    outputs = (output for cell in cells_of(page) for output in cell.get("outputs", []))
    return Rows("".join("".join(output.get("data", {}).get("text/html", "")) for output in outputs))


def prose(page: str) -> str:
    return "\n".join("".join(cell["source"]) for cell in cells_of(page) if cell["cell_type"] == "markdown")


SHOWN = {page: shown(page) for page in set(PAGES.values())}


def entries(name):
    table = operator.attrgetter(name)(CATALOG)
    return list(table.values() if hasattr(table, "values") else table)


# --- the catalog -------------------------------------------------------------------------------------------------


def test_every_table_of_the_catalog_has_a_page():
    serving = {f"serving.{field.name}" for field in dataclasses.fields(CATALOG.serving)}
    assert PAGES.keys() == {field.name for field in dataclasses.fields(CATALOG)} - {"serving"} | serving


@pytest.mark.parametrize("name", [name for name in PAGES if name != "claims"])
def test_a_page_shows_the_source_and_the_day_of_every_entry(name):
    page = SHOWN[PAGES[name]]
    texts = [*page.items, *page.links, *(cell for row in page.rows for cell in row)]
    for entry in (each for top in entries(name) for each in (top, *getattr(top, "offers", ()))):
        assert any(entry.source in text for text in texts), entry.source
        assert any(str(entry.date) in cell for row in page.rows for cell in row), entry.date
        assert any(getattr(entry, "note", "") in text for text in texts), entry.note


def amounts(row):
    """A row's prices as its page shows them."""
    plain = (row.hit, row.miss, row.write, row.output, row.thinking_output, row.storage)
    long = set() if row.write_long is None else {f"{row.write_long:,.10g} for {row.write_long_hours} h"}
    return {f"{price:,.10g}" for price in plain if price is not None} | long


#: What stands in the row of an entry.
CELLS = {
    "models": lambda e: {e.name},
    "draft_heads": lambda e: {e.name, f"{e.vocab:,}"},
    "chips": lambda e: {e.name, f"{e.memory_bytes / 1e9:.0f}", *(f"{w:,}" for w in (e.power_w, e.node_power_w) if w)},
    "prices": lambda e: {e.product, e.currency, *amounts(e)},
    "windows": lambda e: {e.provider, e.name},
    "successions": lambda e: {e.product, e.superseded_by},
    "services": lambda e: {e.provider, e.name, f"{e.factor:,.10g}", ", ".join(e.products) or "all"},
    "aliases": lambda e: {e.name, e.product},
    "fx": lambda e: {str(e.date), f"1 {e.base} = {e.rate:,.10g} {e.quote}"},
    "margins": lambda e: {e.who, e.period, e.says, e.counts, e.basis, e.mark},
    "days": lambda e: {e.what, "nodes peak", f"{e.nodes_peak:g}"},
    "traces": lambda e: {e.what},
    "media": lambda e: {e.name, f"{e.read_bytes_s / 1e9:g}"},
    "prefetch": lambda e: {e.name, f"{e.least_tokens}"},
    "curves": lambda e: {e.drafter, e.task, e.read, *(f"{tokens:.2f}" for tokens in e.accepted_lengths)},
    "positions": lambda e: {e.target, e.drafter, ", ".join(map(str, e.positions)), e.read},
    "entropy_fits": lambda e: {e.target, f"{e.longest:g} (1 - {e.factor:g} H^{e.exponent:g})"},
    "speedups": lambda e: {e.target, e.drafter, e.task, e.read, f"{e.speedups[-1]:.2f}"},
    "serving.rates": lambda e: {e.what, f"{e.both_requests_s:g}", f"{e.prefill_requests_s:g}"},
    "serving.objectives": lambda e: {e.dataset, e.model, f"{e.ttft_s:g}"},
    "serving.clusters": lambda e: {
        e.design,
        e.workload,
        f"{e.prefill_machines} with {CATALOG.chips[e.prefill_chip].name}",
    },
    "serving.gains": lambda e: {e.lever, e.what, e.over, e.measure, e.read},
    "serving.tables": lambda e: {e.what, e.rows[-1].setting, e.read},
    "serving.transfers": lambda e: {e.model, e.hardware, f"{e.transfer_s[-1] * 1e3:.2f}"},
    "serving.nodes": lambda e: {e.phase, e.engine, f"{e.tokens_s:,.0f}"},
    "serving.output_prices": lambda e: {e.what, f"${e.usd_per_million:.2f}"},
    "serving.regimes": lambda e: {e.ttft, e.tpot, e.best, e.says},
    "serving.figures": lambda e: {e.says, e.read},
    "step_times": lambda e: {e.engine, e.model, f"{e.tensor_parallel}", f"{e.large_from}"},
    "lever_figures": lambda e: {e.input, e.says, f"{e.value:,.10g}", e.unit, e.confidence},
    "traffic": lambda e: {e.says, f"{e.input:,}", f"{e.output:,}"},
    "articles": lambda e: {e.title, e.author},
    "claimed_models": lambda e: {e.says, f"{e.total}, {e.active} active"},
    "scenarios": lambda e: {e.name, f"{e.input_tokens:,}"},
}


@pytest.mark.parametrize("name", list(CELLS))
def test_a_page_has_a_row_for_every_entry(name):
    rows = [set(row) for row in SHOWN[PAGES[name]].rows]
    for entry in entries(name):
        row = next((row for row in rows if CELLS[name](entry) <= row), None)
        assert row is not None, entry
        if name == "prices":
            rows.remove(row)  # two entries alike need two rows


def test_every_offer_of_a_chip_has_a_row():
    kinds = OFFER_KINDS.values()
    rows = [row for row in SHOWN["reference/chips"].rows if row[1:] and row[1] in kinds]
    assert len(rows) == sum(len(chip.offers) for chip in CATALOG.chips.values())


def test_every_batch_of_a_speedup_has_a_row():
    rows = {tuple(row) for row in SHOWN["reference/serving"].rows}
    for entry in CATALOG.speedups.values():
        for batch, gain in zip(entry.batches or (0,), entry.speedups, strict=True):
            load = f"batch {batch}" if batch else entry.load
            assert any({entry.target, entry.drafter, load, f"{gain:.2f}"} <= set(row) for row in rows), entry


def test_every_public_trace_has_a_row():
    stored = workloads.workloads()
    rows = [set(row) for row in SHOWN["reference/serving"].rows]
    for each in (*stored.workloads.values(), *stored.mixtures.values()):
        assert any({each.what, f"{each.requests:,}", each.licence} <= row for row in rows), each.what


def test_every_rule_of_a_prompt_cache_has_a_row():
    page = SHOWN["reference/price-lists"]
    rows = [set(row) for row in page.rows]
    for rule in cache_rules().rules.values():
        cells = {rule.provider or "all others", f"{rule.minimum_tokens:,} tokens", f"{rule.lifetime_s:,.0f} s"}
        assert any(cells <= row for row in rows), rule
        assert any(rule.source in text for text in page.items), rule.source
        assert any(rule.note in text for text in page.items), rule.note
    for ratio in cache_rules().ratios.values():
        assert any({ratio.says, f"{ratio.bytes_per_token:,.10g}"} <= row for row in rows)


def test_every_setting_and_every_transfer_has_a_row():
    rows = [set(row) for row in SHOWN["reference/serving"].rows]
    for table in CATALOG.serving.tables.values():
        assert all(any({table.what, line.setting} <= row for row in rows) for line in table.rows)
    for table in CATALOG.serving.transfers.values():
        for tokens, seconds in zip(table.input_tokens, table.transfer_s, strict=True):
            assert any({table.model, f"{tokens:,}", f"{seconds * 1e3:.2f}"} <= row for row in rows)


def test_numbers_of_sources_lead_to_them():
    for found in (reference.price_list("DeepSeek"), reference.chip_offers()):
        html = found._repr_html_()
        for row in found.table.rows:
            number = int(re.search(r"\[(\d+)\]", str(row["source"]))[1])
            assert row["source"].address == f"#{found.slug}-source-{number}"
            assert f'id="{row["source"].address[1:]}"' in html


def test_an_unknown_provider_is_refused():
    with pytest.raises(ValueError, match=r"unknown provider 'OpenAi'.*nown: Alibaba Cloud, Ant Group, Anthropic"):
        reference.price_list("OpenAi")


# --- the claims --------------------------------------------------------------------------------------------------


def test_the_claims_page_has_every_finding():
    rows = SHOWN["claims"].rows
    for found in claims.findings():
        (row,) = [row for row in rows if len(row) == 6 and row[0].startswith(f"{found.claim.says} #")]
        assert row[1] == ", ".join(found.claim.articles)
        assert row[4] == found.verdict
        assert found.why in row[0]
        assert {found.section.replace("#", ".ipynb#"), f"#claim-{found.key}"} <= SHOWN["claims"].links
        assert (BOOK / f"{found.chapter}.ipynb").is_file()


def test_every_verdict_is_explained():
    text = prose("claims")
    for verdict in claims.Verdict.__args__:
        assert f"\n{verdict}\n: " in text, verdict


# --- glossary and notation -----------------------------------------------------------------------------------------

GLOSSARY = (BOOK / "reference/glossary.md").read_text()
ENTRIES = [
    entry.split("\n  ", 1) for entry in re.search(r"```\{glossary\}\n(.*)\n```", GLOSSARY, re.S)[1].split("\n\n")
]
TERMS = [term for names, _ in ENTRIES for term in names.split("\n")]
SOURCES = [*BOOK.rglob("*.md"), *BOOK.rglob("*.ipynb")]


def test_entries_of_the_glossary_are_in_order_and_name_their_place():
    first = [names.split("\n")[0].casefold() for names, _ in ENTRIES]
    assert first == sorted(first, key=lambda term: term.replace("-", " "))
    assert len(TERMS) == len({term.casefold() for term in TERMS}) > 100
    for names, text in ENTRIES:
        place = re.search(r"(?:Chapter|Page): \[[^\]]+\]\(([^)]+)\)\.$", text)
        assert place, f"{names}: no chapter or page"
        assert (BOOK / "reference" / place[1]).is_file(), f"{names}: {place[1]}"
        assert len(text.split()) < 75, f"{names} is long for a glossary"


def test_every_term_that_the_book_uses_is_in_the_glossary():
    known = {term.casefold() for term in TERMS}
    used = {
        match[-1].casefold() if match[-1] else match[0].casefold()
        for file in SOURCES
        for match in re.findall(r"\{term\}`([^`<]+?)(?: ?<([^>]+)>)?`", file.read_text())
        if file.name != "CONTRIBUTING.md"
    }
    assert len(used) > 20
    assert used <= known


def test_figures_of_the_glossary_are_the_catalogs():
    models, chips = CATALOG.models.values(), CATALOG.chips
    vocab = sorted(record.vocab for record in models)
    layers = sorted(len(model.layers) for model in arch.models().values())
    assert f"{vocab[0]:,} to {vocab[-1]:,}" in GLOSSARY
    assert f"{layers[0]} to {layers[-1]} in this course's models" in GLOSSARY
    assert f"{CATALOG.models['deepseek-v4-pro'].hidden:,} numbers wide" in GLOSSARY
    assert CATALOG.models["deepseek-v4-pro"].residual_streams == 4
    assert "four in DeepSeek-V4" in GLOSSARY
    assert f"the {CATALOG.models['deepseek-v3.2'].attention['dsa']['top_k']:,} tokens that score best" in GLOSSARY
    windows = {
        CATALOG.models["mimo-v2.5-pro"].attention["swa"]["window"],
        CATALOG.models["deepseek-v4-pro"].attention["csa"]["window"],
    }
    assert {f"{w} in MiMo-V2.5-Pro and in DeepSeek-V4" in GLOSSARY for w in windows} == {True}
    assert f"about {chips['h800'].flops['fp8'] / 1e15:.0f} × 10¹⁵ in FP8" in GLOSSARY
    assert f"{chips['h800'].network_bytes_s / 1e9:.0f} GB/s in one direction is common" in GLOSSARY
    for kind, words in (("csa", "each stand for 4 tokens"), ("hca", "each stand for 128 tokens")):
        assert str(CATALOG.models["deepseek-v4-pro"].attention[kind]["block"]) in words
        assert words in GLOSSARY


def test_each_symbol_means_one_thing():
    table = (BOOK / "reference/notation.md").read_text().split("## Symbols")[1].split("## ")[0]
    symbols = [
        symbol for row in re.findall(r"^\| (\$[^|]+)\|", table, re.M) for symbol in re.findall(r"\$([^$]+)\$", row)
    ]
    assert len(symbols) == len(set(symbols)) > 40


# --- nothing typed -------------------------------------------------------------------------------------------------

#: Numbers that are no figures: the year, units' powers of two and ten, tiers of a price list, a chapter's title.
PLAIN = {"2026", "1024", "1,000,000", "256,000", "256", "1.6"}


@pytest.mark.parametrize("page", ["intro", "primer", "reference/assumptions", *sorted({*PAGES.values()})])
def test_no_figure_is_typed(page):
    """Whatever has three digits and more was computed, or read from the catalog."""
    text = re.sub(r"```.*?```|`[^`]*`|\$[^$]*\$|\]\([^)]*\)", " ", prose(page), flags=re.S)
    typed = set(re.findall(r"(?<![\w-])(?:\d[\d,.]*\d\d|\d+\.\d+)", text))
    assert typed <= PLAIN, typed - PLAIN
