"""Steps of answers on a page: each once, marked, with its source; nothing of them is markup."""

import re

import pytest

from costlab import levers
from costlab.explore.levers_steps import answer_steps
from costlab.levers import AnswerStep, Question


@pytest.mark.parametrize("question", levers.questions(), ids=lambda each: each.asks)
def test_each_step_stands_once_with_its_mark(question: Question) -> None:
    shown = answer_steps(question)._repr_html_()
    items = re.findall(r"<li>(.*?)</li>", shown)
    assert [re.search(r'marked-(\w+)">(\w+)<', item).groups() for item in items] == [
        (step.kind, step.kind) for step in question.steps
    ]
    assert {step.kind for step in question.steps} == {"fact", "inference"}
    assert all(step.kind in line for step, line in zip(question.steps, items, strict=True))


def test_what_looks_like_markup_is_text_and_addresses_are_links() -> None:
    step = AnswerStep("fact", "a < b & <script>", "see https://example.org/a?b=1 (2026-05-01)")
    shown = answer_steps(Question("Is <this> so?", "Yes.", (step,), {}))._repr_html_()
    assert "<script>" not in shown
    assert "a &lt; b &amp; &lt;script&gt;" in shown
    assert "Is &lt;this&gt; so?" in shown
    assert '<a href="https://example.org/a?b=1">https://example.org/a?b=1</a>' in shown


def test_a_terminal_reads_the_same_steps() -> None:
    question = levers.august_rise()
    text = re.sub(r"\s+", " ", repr(answer_steps(question)))
    for step in question.steps:
        assert f"{step.kind}: {step.says} [{step.source}]" in text
