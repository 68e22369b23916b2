"""Numbers for people; the chapters' table: the same cells as text and as HTML, and one column in bold."""

import json
import math
import re
from datetime import UTC, date, datetime
from html import escape
from html.parser import HTMLParser

import pytest

from costlab.text import Anchor, Table, bytes_text, count_text, linked, plain, tokens_text

ROWS = [
    {"model": "A & <B>", "GB": 5.28, "tokens": 1048576, "hit": None},
    {"model": "C", "GB": 0.5, "tokens": 7, "hit": 1.0},
]


class Cells(HTMLParser):
    """The texts of the cells, and whether the tags balance."""

    def __init__(self, html):
        super().__init__()
        self.open, self.cells, self.bold = [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open or "th" in self.open:
            self.cells[-1] += data
            if "strong" in self.open:
                self.bold.append(data)


def test_text_and_html_hold_the_same_cells():
    table = Table(ROWS, bold="GB", caption="Sizes")
    text = repr(table).splitlines()
    found = Cells(table._repr_html_())
    assert text[0] == "Sizes"
    assert [cell for line in text[1:] for cell in re.split(r"  +", line)] == found.cells
    assert found.cells[:4] == ["model", "GB", "tokens", "hit"]
    assert found.cells[4] == "A & <B>"
    assert found.bold == [found.cells[5], found.cells[9]]
    assert "<B>" not in table._repr_html_()
    assert len(repr(Table(ROWS)).splitlines()) == 3


@pytest.mark.parametrize(
    ("rows", "bold", "words"),
    [
        ([], None, "at least one row"),
        ([{"a": 1}, {"b": 1}], None, "should have the columns"),
        ([{"a": 1}], "b", "bold = 'b' should be one of"),
    ],
)
def test_bad_rows(rows, bold, words):
    with pytest.raises(ValueError, match=words):
        Table(rows, bold)


def test_a_stacked_table_says_what_its_parts_are():
    """Cards on a phone: each cell names its column, and roles stand where the layout takes the table's own away."""
    html = Table([{"a": 1, "b": None}], stacked=True)._repr_html_()
    assert '<table class="costlab stacked" role="table">' in html
    assert html.count('role="row"') == 2
    assert '<td class=num role="cell" data-label="a"><span>1</span></td>' in html
    assert 'data-label="b" data-empty><span>–</span>' in html
    assert "role" not in Table([{"a": 1}])._repr_html_()


def test_a_reader_may_choose_rows_by_the_named_columns():
    html = Table([{"a": 1, "b": 2}], filters=("b",))._repr_html_()
    assert '<th scope="col">a</th><th scope="col" data-filter>b</th>' in html
    with pytest.raises(ValueError, match=r"filters = \['c'\] should be among \['a', 'b'\]"):
        Table([{"a": 1, "b": 2}], filters=("c",))


def test_cells_link():
    table = Table([{"a": Anchor("chapter <1>", "moe.ipynb")}])
    assert '<a href="moe.ipynb">chapter &lt;1&gt;</a>' in table._repr_html_()
    assert repr(table) == "a\nchapter <1>"


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        (
            "seen at https://example.org/a?b=1&c=2.",
            "https://example.org/a?b=1&amp;c=2",
            "https://example.org/a?b=1&amp;c=2",
        ),
        ("(https://example.org/x, read 2026)", "https://example.org/x", "https://example.org/x"),
        ("arXiv 2412.19437 sec. 4", "https://arxiv.org/abs/2412.19437", "arXiv 2412.19437"),
        ("github.com/a/b-c issue 24", "https://github.com/a/b-c", "github.com/a/b-c"),
    ],
)
def test_addresses_in_a_text_are_links(text, address, shown):
    html = linked(text)
    assert f'<a href="{address}">{shown}</a>' in html
    assert re.sub("<[^>]*>", "", html) == escape(text)
    assert html in Table([{"a": text}])._repr_html_()


def test_a_text_without_an_address_is_itself():
    assert linked("5 < 6 & 2412.19437") == "5 &lt; 6 &amp; 2412.19437"


@pytest.mark.parametrize(("tokens", "text"), [(1024, "1K"), (131_072, "128K"), (2**20, "1M"), (100, "100")])
def test_tokens_text(tokens, text):
    assert tokens_text(tokens) == text


SAID = {
    70_272: "70.3 KB",
    5.28e9: "5.28 GB",
    0: "0 B",
    950: "950 B",
    999.6: "1 KB",
    999.4e9: "999 GB",
    999.9e9: "1 TB",
    51.2e9: "51.2 GB",
    2e18: "2 EB",
}


@pytest.mark.parametrize(
    ("number", "said"), [*SAID.items(), (-5e6, "-5 MB"), (math.inf, "unlimited"), (math.nan, "nan")]
)
def test_sizes_round_into_the_next_unit(number, said) -> None:
    assert bytes_text(number) == said
    assert count_text(number) == said.removesuffix("B").strip().replace("K", "k")


def test_plain_values_are_json():
    """What is infinite or not a number is null, dates are ISO text, all else stays."""
    value = {
        "a": [1, 2.5, math.inf, (math.nan, None)],
        "b": date(2026, 6, 1),
        "c": datetime(2026, 6, 1, 12, tzinfo=UTC),
    }
    found = plain({**value, "d": {"e": -math.inf, "f": True, "g": "inf"}})
    assert found == {
        "a": [1, 2.5, None, [None, None]],
        "b": "2026-06-01",
        "c": "2026-06-01T12:00:00+00:00",
        "d": {"e": None, "f": True, "g": "inf"},
    }
    json.dumps(found, allow_nan=False)
