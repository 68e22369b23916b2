"""The steps of an answer as a page shows them: each marked as a fact or an inference, with its source.

Chapter: levers
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from html import escape

from costlab.levers import Question
from costlab.text import linked


@dataclass(frozen=True)
class MarkedSteps:
    """An answer's steps; a notebook shows them as a list that opens, a terminal as text."""

    question: Question  # whose steps they are

    def __repr__(self) -> str:
        lines = [f"{each.kind}: {each.says} [{each.source}]" for each in self.question.steps]
        wrap = textwrap.TextWrapper(100, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        return "\n".join(map(wrap.fill, lines))

    def _repr_html_(self) -> str:
        steps = "".join(
            f'<li><span class="marked marked-{each.kind}">{each.kind}</span> {escape(each.says)} '
            f'<span class="marked-source">{linked(each.source)}</span></li>'
            for each in self.question.steps
        )
        said = f"All {len(self.question.steps)} steps, with sources and assumptions: {self.question.asks}"
        return f'<details class="marked-steps"><summary>{escape(said)}</summary><ol>{steps}</ol></details>'


def answer_steps(question: Question) -> MarkedSteps:
    """Return the steps of an answer for a page.

    Args:
        question: as `levers.questions` answers it.
    """
    return MarkedSteps(question)


__all__ = ["MarkedSteps", "answer_steps"]
