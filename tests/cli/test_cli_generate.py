"""The verb generate: text of the shipped models, the same by every method; what it counts; and a missing torch."""

import subprocess
import sys

import pytest

from costlab.cli import generate
from costlab.nn.speculative import shipped

PROMPT = "def"
METHODS = list(shipped.METHODS)


def test_every_method_writes_the_same_text(document):
    rows = {}
    for method in METHODS:
        (rows[method],) = document(f"generate {PROMPT} --method {method} --tokens 24 --untimed")["rows"]
    assert len({row["text"] for row in rows.values()}) == 1
    assert {row["emitted_tokens"] for row in rows.values()} == {24}
    assert rows["plain"]["passes"] == 24 and rows["plain"]["acceptance"] == []
    for method, row in rows.items():
        assert row["method"] == method
        assert row["tokens_per_pass"] == 24 / row["passes"]
        assert (row["draft_steps"] > 0) == (method in ("draft", "mtp", "tree"))
        assert row["token_s"] is row["plain_token_s"] is row["speedup"] is None


def test_numbers_are_those_of_the_package(run, document):
    line = f"generate {PROMPT} --method draft --length 2 --temperature 0.8 --seed 3 --tokens 30"
    found = shipped.continued(PROMPT, "draft", 2, 0.8, 3, 30, timed=False).generation
    (row,) = document(f"{line} --untimed")["rows"]
    assert row["text"] == found.text
    assert row["acceptance"] == [kept / tried for kept, tried in zip(found.accepted, found.tried, strict=True)]
    assert len(row["acceptance"]) == 2
    (timed,) = document(line)["rows"]
    assert timed["speedup"] == timed["plain_token_s"] / timed["token_s"] > 0
    assert timed["text"] == row["text"]
    status, out, _ = run(line)
    assert status == 0
    assert f"{found.tokens_per_pass:.2f}: 30 tokens in {found.passes} passes" in out
    assert "speed of this machine" in out and "says nothing of a GPU" in out
    assert "speed" not in run(f"{line} --untimed")[1]


def test_two_seeds_differ(document):
    texts = [document(f"generate {PROMPT} --temperature 1 --seed {seed} --tokens 30 --untimed") for seed in (1, 2, 1)]
    a, b, c = (each["rows"][0]["text"] for each in texts)
    assert a == c != b


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--method lokup", ["unknown method 'lokup'", "did you mean 'lookup'", "ngram"]),
        ("--method mtp --length 4", ["length = 4 is more than 3 modules"]),
        ("--length 0", ["--length", "'0'", "from 1"]),
        ("--temperature -1", ["temperature = -1"]),
        ("--temperature nan", ["temperature = nan"]),
        ("--temperature warm", ["--temperature", "'warm'"]),
        ("--seed -1", ["--seed", "'-1'"]),
        ("--tokens 0", ["--tokens", "'0'"]),
    ],
)
def test_errors(options, words, run):
    status, out, err = run(f"generate {PROMPT} --untimed {options}")
    assert (status, out) == (2, "")
    assert "Traceback" not in err
    for word in words:
        assert word in err, err


def test_an_empty_prompt_is_refused(capsys):
    from costlab.cli.main import main

    assert main(["generate", "", "--untimed"]) == 2
    assert "an empty prompt" in capsys.readouterr().err


def test_without_torch_it_says_what_is_missing():
    code = (
        "import sys; sys.modules['torch'] = None; from costlab.cli.main import main; sys.exit(main(['generate', 'x']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert done.stderr == "costlab generate: it runs a model, which needs torch: pip install 'costlab[nn]'\n"
    assert generate.add_verbs  # importing the verb needs no torch
