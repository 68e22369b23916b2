"""Runs a reader's answer to an exercise, then its check, and says in plain words what came of it."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from typing import Any

from .shell import readable_traceback

CODE, CHECK = "<your code>", "<the check>"
LONGEST = 20_000  # characters of text that a page shows of one run


def trouble(kernel: Any, code: str, check: str) -> dict[str, Any] | None:
    """Run code and check among no other names; return None where the check is passed, else what went wrong.

    kind: "wrong" where the check says so, "unanswered" where there is no answer yet, "error" for any other error.
    text: what the check or Python says. line, source: the last line of the code that was reached, where one was.
    """
    namespace = {"__name__": "__main__", "display": kernel.display}
    name = CODE
    try:
        for name, source in ((CODE, code), (CHECK, check)):
            kernel.execute(name, source, namespace)
    except BaseException as error:
        kernel.figures.take_open()
        return _told(error, name, code, check)
    return None


def _told(error: BaseException, name: str, code: str, check: str) -> dict[str, Any]:
    line = _line(error)
    lines = code.splitlines()
    kind, text = "error", traceback.format_exception_only(error)[-1].strip()
    if name == CHECK and isinstance(error, AssertionError):
        kind, text = "wrong", str(error) or f"this does not hold: {_failed(error, check)}"
    elif isinstance(error, NotImplementedError):
        kind, text = "unanswered", ""
    return {
        "kind": kind,
        "text": text,
        "line": line,
        "source": lines[line - 1].strip() if line and line <= len(lines) else "",
        "traceback": readable_traceback(error),
    }


def _line(error: BaseException | None) -> int | None:
    """Return the last line of the reader's code that led to an error, or to the one behind it."""
    while error is not None:
        if isinstance(error, SyntaxError) and error.filename == CODE:
            return error.lineno
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == CODE]
        if frames:
            return frames[-1].lineno
        error = error.__cause__ or error.__context__
    return None


def _failed(error: BaseException, check: str) -> str:
    """Return the line of the check that an assertion without words stands in."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == CHECK]
    return (frames[-1].line if frames else "") or check.strip()


def outputs(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what was shown, text of one stream in one piece, no more of it than a page can hold."""
    shown: list[dict[str, Any]] = []
    for output in _displayed(events):
        if output["output_type"] == "stream":
            if shown and shown[-1]["output_type"] == "stream" and shown[-1]["name"] == output["name"]:
                output = {**output, "text": shown.pop()["text"] + output["text"]}
            if len(output["text"]) > LONGEST:
                output = {**output, "text": output["text"][:LONGEST] + "\n… and more."}
        shown.append(output)
    return shown


def _displayed(events: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (event["output"] for event in events if event["kind"] == "display")
