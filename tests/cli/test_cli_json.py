"""One language for all verbs: keys, units and inputs are those that the book's page `reference/cli` writes down."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
from answers import told_of
from hypothesis import given
from hypothesis import strategies as st

from costlab import catalog
from costlab.catalog.cache_rules import cache_rules
from costlab.catalog.workloads import workloads
from costlab.cli.arguments import capacity_arg, count_arg, size_arg
from costlab.cli.main import SUBJECTS, build_parser
from costlab.cli.output import inputs
from costlab.text import bytes_text

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "book" / "reference" / "cli.md"


def load_tool():
    spec = importlib.util.spec_from_file_location("readme_output", ROOT / "tools" / "readme_output.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = load_tool()
PARSERS = TOOL.verbs()


def commands():
    """Every command that README, the page or a verb's help shows, without `costlab` and `--json`."""
    shown = [found for page in TOOL.PAGES for found in TOOL.BLOCK.findall(page.read_text())]
    shown += [verb.epilog.split("\n")[1].strip() for verb in PARSERS.values()]
    return sorted({in_process(line) for line in shown})


def in_process(shown):
    """One process is enough for what is looked at here."""
    line = shown.removeprefix("costlab ").removesuffix(" --json")
    return f"{line} --jobs 1" if line.startswith("sweep") and "--jobs" not in line else line


COMMANDS = commands()
BASE = {  # the shortest line of each verb
    "models": "models",
    "kv": "kv deepseek-v3 --tokens 1",
    "flops": "flops deepseek-v3 --tokens 1",
    "import": "import tests/arch/configs/gpt-oss-120b.json --day 2026-11-25",
    "moe": "moe deepseek-v3",
    "roofline": "roofline deepseek-v3 --chip h800 --chips 16 --batch 1 --tokens 1",
    "speculate": "speculate deepseek-v3 --chip h800 --chips 16 --batch 1 --tokens 1 --draft mtp --acceptance 0.9",
    "chips": "chips h800 --draws 10",
    "port": "port deepseek-v3 --size small",
    "bill": "bill --input 1 --output 1 --hit-rate 0",
    "prices": "prices deepseek-v4-pro",
    "replay": "replay chat:10 --model deepseek-v3 --hbm 1GB",
    "sweep": "sweep chat:10 --model deepseek-v3 --hbm 1GB",
    "prompts": "prompts tests/prompts/support.jsonl --product deepseek-v4-pro",
    "simulate": "simulate fixed:10 --input 64 --output 4 --rate 1 --model deepseek-v3 --chip h800 --chips 32",
    "plan": "plan --model llama-3.1-8b --chip h800 --rate 1 --input 64 --output 4 --ttft 1 --tpot 1 "
    "--layouts co-located --tensor-parallel 1 --requests 50 --runs 0",
    "claims": "claims moe-params",
    "generate": "generate x --method plain --tokens 1 --untimed",
    "waterfall": "waterfall deepseek-v3 --chip h800 --draws 10",
}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What every command prints, by command; also a sweep that fails, and a service that rejects."""
    path = tmp_path_factory.mktemp("cli") / "twice.jsonl"
    path.write_text('{"timestamp": 0, "input_length": 1024, "output_length": 1, "hash_ids": [1, 1]}')
    rejects = f"{BASE['simulate']} --input 2M"
    return {
        line: told_of(line) for line in [*COMMANDS, f"sweep {path} --model mimo-v2.5-pro --hbm 10GB --jobs 1", rejects]
    }


@pytest.fixture(scope="module")
def documents(told):
    """The JSON of every command, by command."""
    return {line: json.loads(each.json) for line, each in told.items()}


def keys(value, above=None):
    """(key, value) of every entry, however deep; the names of tiers and links are no keys."""
    if isinstance(value, list):
        for each in value:
            yield from keys(each, above)
    elif isinstance(value, dict):
        for key, each in value.items():
            if above not in ("tiers", "links"):
                yield key, each
            yield from keys(each, key)


def documented():
    """Meaning and unit by key, of the page's tables of keys."""
    text = PAGE.read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| ([^|]*?) ?\|$", text[text.index("(json-keys)=") :], re.MULTILINE)
    assert len({key for key, _, _ in rows}) == len(rows)
    return {key: unit for key, _, unit in rows}


TOP = {"schema", "verb", "inputs", "rows", "notes", "sources", "kind", "what", "source", "date"}


# --- the page --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", TOOL.PAGES, ids=lambda page: page.stem)
def test_shown_output_is_current(page, told, monkeypatch):
    """Each shown command prints today what README.md and the book's page on the command line show."""

    def output_of(command):
        found = told[in_process(command)]
        assert found.status == 0
        return found.json if command.endswith(" --json") else found.text

    monkeypatch.setattr(TOOL, "output_of", output_of)
    assert TOOL.filled(page.read_text()) == page.read_text(), "run python tools/readme_output.py"


def test_every_verb_has_an_example_and_its_options():
    assert set(PARSERS) == set(BASE)
    text = PAGE.read_text()
    for verb in PARSERS:
        assert f"\n### {verb}\n" in text and f"<!-- options: {verb} -->" in text
        assert f"<!-- cli: costlab {verb}" in text
        assert any(line.split()[0] == verb for line in COMMANDS)
    assert [each for each in re.findall(r"^## (.+)$", text, re.MULTILINE) if each in SUBJECTS] == list(SUBJECTS)


def test_every_key_is_documented_and_no_other(documents):
    """What the examples print, and what a failed plan does."""
    seen = {key for document in documents.values() for key, _ in keys(document)}
    assert seen - TOP - documented().keys() == set()
    assert documented().keys() - seen == set()
    for key in TOP - {"kind"}:
        assert f"`{key}`" in PAGE.read_text()


UNITS = {
    "_bytes": "bytes",
    "_s": "seconds",
    "_flops": "FLOP",
    "_params": "parameters",
    "_pages": "pages",
    "_requests": "requests",
    "_share": "share",
    "_rate": "share",
    "_efficiency": "share",
    "_amount": "`currency`",
}


def test_units_stand_in_the_names():
    told = documented()
    for key, unit in told.items():
        suffix = next(
            (each for each in UNITS if key.endswith(each) and key not in ("tokens_per_s", "exchange_rate")), None
        )
        if suffix and key != "usd_per_s":
            assert unit == UNITS[suffix], key
        assert ("usd" in key) == (unit == "US dollars"), key
        assert not re.search(r"_(GB|MB|KB|ms|us|GFLOP|TFLOP|B|K|M|T|percent|pct)(_|$)", key), key
    assert told["total_bytes"] == "bytes" and told["tokens_per_s"] == "tokens per second"


def test_values_are_in_base_units(documents):
    """Plain numbers: shares within 0 and 1, whole counts whole, no text for what is unknown."""
    told = documented()
    for document in documents.values():
        for key, value in keys({part: document[part] for part in ("inputs", "rows")}):
            if told.get(key) == "share" and value is not None and not isinstance(value, list):
                assert 0 <= value <= 1, key
            if told.get(key):
                for each in value if isinstance(value, list) else [value]:
                    assert each is None or type(each) in (int, float), key
            if told.get(key) in ("tokens", "pages", "requests", "parameters", "sequences"):
                for each in value if isinstance(value, list) else [value]:
                    assert each is None or each == int(each), key
            assert value not in ("-", "", "none", "all day", "unlimited", "n/a"), key


def test_rows_of_a_verb_have_the_same_keys(documents):
    """Those of replay are those of sweep, which stand behind what it varies."""
    of_verb = {}
    for document in documents.values():
        for row in document["rows"]:
            half = " --usage" if document["inputs"].get("usage") else ""  # bills of records have rows of their own
            of_verb.setdefault(document["verb"] + half, []).append(list(row))
    for verb, rows in of_verb.items():
        if verb != "sweep":
            assert len({tuple(key for key in row if key != "of_first") for row in rows}) == 1, verb
    for row in of_verb["sweep"]:
        assert row[-1] == "error" or set(of_verb["replay"][0]) <= set(row)


def test_sources_are_the_catalogs(documents):
    """Each with its text and day as they stand there."""
    known = catalog.tables()
    entries = [*known.models.values(), *known.chips.values(), *known.prices, *known.fx, *known.services]
    made = workloads()
    entries += [*made.workloads.values(), *made.mixtures.values()]
    entries += [*cache_rules().rules.values(), *cache_rules().ratios.values()]
    entries += [*known.media.values(), *known.prefetch.values(), *(o for c in known.chips.values() for o in c.offers)]
    entries += known.articles.values()
    told = {(entry.source, entry.date.isoformat()) for entry in entries}
    for document in documents.values():
        assert bool(document["sources"]) == (document["verb"] != "generate")  # its model is no entry of the catalog
        for each in document["sources"]:
            assert list(each) == ["kind", "what", "source", "date"]
            assert (each["source"], each["date"]) in told or document["verb"] == "import"
    kinds = {each["kind"] for document in documents.values() for each in document["sources"]}
    known_kinds = {"model", "chip", "rent", "price", "exchange rate", "storage medium", "prefetch rule", "workload"}
    assert kinds == known_kinds | {"article", "cache rule", "token ratio"}


# --- tables show the rows --------------------------------------------------------------------------------------

#: Heads of tables whose name is not the key: the key and what a table divides by.
SCALES = {"GB": 1e9, "MB": 1e6, "GFLOP": 1e9, "ms": 1e-3}
HEADS = {
    "total_B": ("total_params", 1e9),
    "active_B": ("active_params", 1e9),
    "kv_B_per_token": ("kv_bytes_per_token", 1),
    "context": ("context_tokens", 1),
    "of_which_index_GB": ("index_bytes", 1e9),
    "bytes_per_token": ("kv_bytes_per_token", 1),
    "usd_per_M_tokens": ("usd_per_million_tokens", 1),
    **{part: (f"{part}_amount", 1) for part in ("hit", "miss", "write", "output", "total")},
    **{part: (f"{part}_amount", 1) for part in ("cost", "low_cost", "high_cost", "price", "tie_price", "rent")},
    **{f"{unit}_hour": (f"{unit}_hour_amount", 1) for unit in ("used", "pflop", "tb_s", "gb")},
}


def key_of(head):
    """Key and scale of a head."""
    name, _, unit = head.rpartition("_")
    if head in HEADS:
        return HEADS[head]
    return (
        (f"{name}{'_flops' if unit == 'GFLOP' else '_s' if unit == 'ms' else '_bytes'}", SCALES[unit])
        if unit in SCALES
        else (head, 1)
    )


TABLES = [
    line
    for line in COMMANDS
    if line.split()[0] in ("models", "kv", "flops", "roofline", "speculate", "chips", "bill", "sweep")
]


@pytest.mark.parametrize("line", TABLES)
def test_tables_show_the_rows(line, told, documents):
    """Each number of the table is the row's, to the table's four digits."""
    document = documents[line]
    head, *lines = told[line].text.splitlines()
    spans = [(m.start(), m.end()) for m in re.finditer(r"\S+", head)]
    compared = 0
    for row, text in zip(document["rows"], lines, strict=False):
        cells = re.split(r" {2,}", text.strip())
        for (start, end), shown in zip(spans, cells, strict=True):
            key, scale = key_of(head[start:end])
            if isinstance(row.get(key), int | float):
                if key.endswith("_bytes") and key.startswith(("dram", "hbm", "ssd")):
                    assert shown == (bytes_text(row[key]) if row[key] else "none")
                else:
                    assert float(shown.replace(",", "")) == pytest.approx(row[key] / scale, rel=5.1e-4), key
                compared += 1
    assert compared >= 5 * len(document["rows"])
    below = [each.strip() for each in lines[len(document["rows"]) :]]
    assert below[len(below) - len(document["notes"]) :] == document["notes"]
    assert all(each == each.rstrip() for each in lines)


def test_csv_has_the_keys_of_json(run, documents):
    line = next(line for line in COMMANDS if line.startswith("sweep"))
    _, out, _ = run(f"{line} --csv")
    heads, *lines = (text.split(",") for text in out.splitlines())
    for cells, row in zip(lines, documents[line]["rows"], strict=True):
        for head, text in zip(heads, cells, strict=True):
            value = row
            for part in head.split("."):
                value = None if value is None else value.get(part)
            assert text == ("" if value is None else str(value)), head
    assert {"hit_rate", "tiers.HBM.hit_rate", "tiers.DRAM.mean_hit.load_s", "links.DRAM to HBM.moved_bytes"} <= set(
        heads
    )


# --- what was typed --------------------------------------------------------------------------------------------


def options(*readers):
    """(verb, option or None, key, several) of every argument that one of these reads."""
    for verb, parser in PARSERS.items():
        for action in parser._actions:
            one = getattr(action.type, "__closure__", None)
            reader = one[0].cell_contents if one else action.type
            if reader in readers:
                yield verb, action.option_strings[0], action.dest, bool(one)


def understood(verb, option, text):
    line = f"{BASE[verb]} {option} {text}"
    return inputs(build_parser().parse_args(line.split()))


COUNTED = list(options(size_arg, count_arg))
SIZED = list(options(capacity_arg))


def test_options_are_found():
    assert len(COUNTED) > 20 and len(SIZED) == 7


@given(st.sampled_from(COUNTED), st.integers(1, 2**23), st.sampled_from(["", "K", "k", "M", "m"]))
def test_counts_are_echoed_as_plain_numbers(option, number, letter):
    verb, name, key, several = option
    value = number * {"": 1, "k": 1024, "m": 1024**2}[letter.lower()]
    found = understood(verb, name, f"{number}{letter}")[key]
    assert found == ([value] if several else value)
    assert type(found[0] if several else found) is int


@given(st.sampled_from(SIZED), st.integers(1, 999), st.sampled_from(["GB", "TB", "GiB"]))
def test_sizes_are_echoed_in_bytes(option, number, unit):
    verb, name, key, several = option
    value = number * {"GB": 1e9, "TB": 1e12, "GiB": 2.0**30}[unit]
    assert understood(verb, name, f"{number}{unit}")[key] == ([value] if several else value)
    assert understood(verb, name, "unlimited")[key] == ([None] if several else None)


@pytest.mark.parametrize("verb", list(BASE))
def test_every_option_is_echoed(verb, document):
    """In the document itself, under the name that the parser gives it."""
    found = document(in_process(BASE[verb]))["inputs"]
    left_out = {"help", "json", "csv"}
    assert list(found) == [a.dest for a in PARSERS[verb]._actions if a.dest not in left_out]


def test_inputs_are_filled_in(document):
    """What was not typed is what was used: products, rent, tokens of a block, the day."""
    found = document("bill --input 128K --output 1 --hit-rate 0 --date 2026-09-01")
    assert found["inputs"]["product"] == [row["product"] for row in found["rows"]]
    assert found["inputs"]["input_tokens_per_call"] == 131_072
    assert found["inputs"]["moment"] == "2026-09-01T12:00:00+00:00"
    assert document(BASE["replay"])["inputs"]["block_tokens"] == 512
    assert document(BASE["roofline"])["inputs"]["usd_per_chip_hour"] == 2


@pytest.mark.parametrize("verb", [verb for verb in BASE if verb not in ("models", "import", "claims")])
def test_names_in_capitals_are_the_same_names(verb, document):
    """Models, chips and products, wherever a verb takes them; the answer has the catalog's."""
    line = f"bill deepseek-v4-pro {BASE['bill'][5:]}" if verb == "bill" else in_process(BASE[verb])
    capitals = re.sub(r"deepseek-[\w-]+|h800|plain", lambda name: name[0].upper(), line)
    assert capitals != line
    assert document(capitals) == document(line)


# --- help ------------------------------------------------------------------------------------------------------


def test_help_lists_the_verbs_by_subject(run):
    status, out, err = run("--help")
    assert (status, err) == (0, "")
    at = [out.index(f"\n{subject}:\n") for subject in SUBJECTS]
    assert at == sorted(at)
    listed = re.findall(r"^  (\w+) +(.+)$", out, re.MULTILINE)
    assert [(name, text) for name, text in listed] == [(name, verb.description) for name, verb in PARSERS.items()]
    assert "K is 1024" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("verb", list(BASE))
def test_help_ends_with_an_example(verb, run):
    """It runs: the documents above come from it too."""
    status, out, _ = run(f"{verb} --help")
    last = out.splitlines()[-1].strip()
    assert status == 0 and last.startswith(f"costlab {verb}")
    assert "example:" in out
