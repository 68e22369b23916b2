"""The menus above a table: which rows a choice leaves, in a page that is nothing but the table and the script."""

from collections.abc import Callable
from pathlib import Path
from shutil import copy

import pytest
from conftest import ROOT
from playwright.sync_api import Browser, Page

from costlab.explore import Table, reference

COLUMN = "(at) => [...document.querySelectorAll('.ledger tbody tr')].map((row) => row.cells[at].textContent)"
CHOSEN = "() => [...document.querySelectorAll('tbody tr')].filter((row) => !row.hidden).length"


@pytest.fixture(scope="module")
def page(browser: Browser, serve: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory) -> Page:
    """Open the ledger, and a table without filters, with the script that the book gives them."""
    folder = tmp_path_factory.mktemp("ledger")
    tables = reference.ledger()._repr_html_() + Table([{"a": 1}])._repr_html_()
    (folder / "index.html").write_text(
        f'<!doctype html><meta charset="utf-8">{tables}<script src="filter.js"></script>'
    )
    copy(ROOT / "book/web/filter.js", folder)
    opened = browser.new_page()
    opened.goto(serve(folder) + "index.html")
    return opened


def expected(**wanted: str) -> int:
    """How many rows of the ledger have these values."""
    rows = reference.ledger().rows
    return sum(all(value in str(row[name]).split(", ") for name, value in wanted.items()) for row in rows)


def test_menus_leave_the_rows_that_have_what_is_chosen(page: Page) -> None:
    """One menu alone, a value that stands beside others in its cell, two menus together, and all rows again."""
    everything = expected()
    assert page.locator("select").count() == 5  # and none for the table without filters
    page.get_by_role("combobox", name="article").select_option("B")
    assert page.evaluate(CHOSEN) == expected(article="B") + 1  # the other table has one row
    assert page.locator("output").inner_text() == f"{expected(article='B')} of {everything} rows"
    page.get_by_role("combobox", name="verdict").select_option("reproduced under a stated assumption")
    both = expected(article="B", verdict="reproduced under a stated assumption")
    assert 0 < both < everything
    assert page.locator("output").inner_text() == f"{both} of {everything} rows"
    page.get_by_role("combobox", name="lever").select_option("Tiers")
    fewer = expected(article="B", verdict="reproduced under a stated assumption", lever="Tiers")
    assert page.evaluate(CHOSEN) == fewer + 1 < both + 1
    for menu in ("article", "verdict", "lever"):
        page.get_by_role("combobox", name=menu).select_option("all")
    assert page.evaluate(CHOSEN) == everything + 1


def test_rows_are_sorted_by_the_menu_and_by_a_heads_click(page: Page) -> None:
    """Numbers from the largest on, those without one last; texts from A on; a second click brings the first order."""
    first = "() => document.querySelector('tbody tr').id"
    listed = page.evaluate(first)
    page.get_by_role("combobox", name="sort by").select_option("off by")
    factors = [row["off by"].rstrip("×").replace(",", "") for row in reference.ledger().rows]
    most = max(float(each) for each in factors if each != "–")
    shown = page.evaluate(COLUMN, 5)
    assert float(shown[0].rstrip("×").replace(",", "")) == most
    assert shown[-1] == "–"
    head = page.locator("th[data-sort]", has_text="verdict")
    assert page.locator("th[aria-sort=descending]").inner_text() == "off by"
    head.click()
    verdicts = page.evaluate(COLUMN, 4)
    assert verdicts == sorted(verdicts)
    head.click()
    assert page.evaluate(first) == listed


def test_a_link_to_a_claim_opens_it(page: Page) -> None:
    """The address of a claim's sign."""
    sign = page.locator("#claim-price-725x a.place")
    assert page.locator("details[open]").count() == 0
    sign.click()
    assert page.locator("details[open]").count() == page.locator("#claim-price-725x details[open]").count() == 1


def test_without_the_script_all_rows_show(browser: Browser) -> None:
    """What the script hides, nothing else does."""
    plain = browser.new_page()
    plain.set_content(reference.ledger()._repr_html_())
    assert plain.evaluate(CHOSEN) == expected()
    assert plain.locator("select").count() == 0
    plain.close()
