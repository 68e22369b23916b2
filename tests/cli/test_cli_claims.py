"""The verb claims: the list, one claim with all its numbers, and what is refused."""

import json
import re

import pytest

from costlab import catalog, claims
from costlab.cli.main import main


@pytest.fixture
def run(capsys):
    def asked(*line):
        status = main(["claims", *line])
        out, err = capsys.readouterr()
        return status, out, err

    return asked


def test_the_list_has_a_line_for_each_claim(run):
    status, out, _ = run()
    lines = out.splitlines()
    assert status == 0
    assert [line.split()[0] for line in lines[1:-1]] == list(catalog.tables().claims)
    assert lines[-1].startswith(f"  {len(catalog.tables().claims)} claims: ")
    assert sum(map(int, re.findall(r"(\d+) [a-z]", lines[-1])[1:])) == len(catalog.tables().claims)


def test_a_list_of_one_article_and_one_verdict(run):
    _, out, _ = run("--article", "c", "--verdict", "unit or label error", "--json")
    rows = json.loads(out)["rows"]
    assert {row["id"] for row in rows} == {"price-mimo-pro-output", "price-mimo-pro-row", "price-mimo-row"}
    assert all("C" in row["articles"] and row["verdict"] == "unit or label error" for row in rows)


def test_one_claim_shows_every_field(run):
    status, out, _ = run("flops-27-percent")
    found = claims.settle("flops-27-percent")
    flat = " ".join(out.split())
    assert status == 0
    assert found.claim.says in flat
    assert found.why in flat
    assert found.assumption in flat
    assert found.address in flat
    for part in found.parts:
        assert part.quantity in flat
        assert part.formula in out


def test_json_has_the_numbers_as_they_were_computed(run):
    _, out, _ = run("moe-5-percent", "--json")
    document = json.loads(out)
    (row,) = document["rows"]
    assert row == json.loads(json.dumps(claims.as_record(claims.settle("moe-5-percent"))))
    assert [number["claimed"] for number in row["numbers"]] == [[0.05, 0.10]] * 3
    assert [number["beyond_assumption"] for number in row["numbers"]] == [False, True, True]
    assert {source["what"] for source in document["sources"]} == {"E"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["moe-parms"], "unknown claim 'moe-parms'; did you mean 'moe-params'?"),
        (["--article", "F"], "unknown article 'F'; known: A, B, C, D, E"),
        (["--verdict", "contradictd"], "unknown verdict 'contradictd'; did you mean 'contradicted'?"),
        (["moe-params", "--article", "B"], "'moe-params' is a claim of A and E with the verdict 'reproduced', not of"),
        (["--article", "B", "--verdict", "not checkable from public facts"], "article B makes no claim with"),
    ],
)
def test_what_is_unknown_is_refused(run, line, said):
    status, out, err = run(*line)
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_the_file_of_numbers_has_one_shape():
    rows = claims.number_records(claims.findings())
    assert {tuple(row) for row in rows} == {tuple(rows[0])}
    assert len(rows) == sum(len(found.parts) for found in claims.findings())
    assert not any(isinstance(value, list | dict) for row in rows for value in row.values())


def test_ids_and_letters_may_be_capitals(run):
    assert run("MOE-PARAMS", "--article", "a")[1] == run("moe-params", "--article", "A")[1]
