"""The files beside the page of claims: what the command line prints, and a row for each number."""

import csv
import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from costlab import claims
from costlab.cli.main import main

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bookfix():
    spec = importlib.util.spec_from_file_location("bookfix", ROOT / "book/_ext/bookfix.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_both_files_are_written_beside_the_page(bookfix, tmp_path, capsys):
    page = tmp_path / "book/claims.html"
    page.parent.mkdir()
    page.touch()
    bookfix.write_ledger(SimpleNamespace(outdir=tmp_path))
    main(["claims", "--json"])
    printed = capsys.readouterr().out
    assert json.loads((page.parent / "claims.json").read_text(encoding="utf-8")) == json.loads(printed)
    with (page.parent / "claims.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {each.key: each for each in claims.findings()}
    assert len(rows) == sum(len(each.parts) for each in found.values())
    for row in rows:
        assert row["verdict"] == found[row["id"]].verdict
        part = next(each for each in found[row["id"]].parts if each.quantity == row["quantity"])
        assert float(row["claimed"]) == part.claimed
        assert row["formula"] == part.formula


def test_a_site_without_the_page_gets_none(bookfix, tmp_path):
    bookfix.write_ledger(SimpleNamespace(outdir=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_the_page_offers_what_is_written():
    page = (ROOT / "book/claims.ipynb").read_text()
    for kind in ("csv", "json"):
        assert f'<a href=\\"claims.{kind}\\" download>' in page
