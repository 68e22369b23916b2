"""Requests out of a log: one a line, as the interfaces of OpenAI and Anthropic take them, alone or wrapped by a log.

Errors name file, line and field, and never quote the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import IO, Any, Literal, cast

from costlab.prices.usage.documents import documents
from costlab.prices.usage.fields import UsageFault
from costlab.prices.usage.records import moment_within
from costlab.traces.lines import Lines

#: More requests, or deeper nesting, are refused rather than waited for.
MOST_LOGGED = 100_000
DEEPEST = 64

#: How a request is written: OpenAI's chat completions and responses, Anthropic's messages.
RequestForm = Literal["chat", "responses", "messages"]

#: What holds a request in logs and batches, the outermost first looked into.
_HOLDERS = ("request", "body", "params", "request_body", "data")
_OUTERMOST = 4


@dataclass(frozen=True)
class PromptRequest:
    """One request of a log."""

    line: int  # where it begins
    body: Mapping[str, Any] = field(repr=False)  # as the interface takes it
    form: RequestForm  # how it is written
    time_s: float | None = None  # when, in seconds after 1970; None: the log does not say

    @property
    def model(self) -> str:
        """The model that was asked for; "" where the request names none."""
        return str(self.body.get("model") or "")

    @property
    def turns_name(self) -> str:
        """The field that holds the messages."""
        return "input" if self.form == "responses" else "messages"

    @property
    def turns(self) -> list[Any]:
        """The messages; a text alone is one of them."""
        found = self.body[self.turns_name]
        return found if isinstance(found, list) else [{"role": "user", "content": found}]

    def with_body(self, body: Mapping[str, Any]) -> PromptRequest:
        """Return the request with another body of the same form."""
        return replace(self, body=body)


def read_requests(source: str | bytes | os.PathLike[str] | IO[bytes]) -> tuple[PromptRequest, ...]:
    """Read a log of requests; what is packed (gzip, zstd, bzip2, xz) is unpacked on the way.

    Args:
        source: a file, a pipe, or an open binary stream: an object a line, or objects that run over several lines.

    Returns:
        In order of time where the log has times, else in that of the file.

    Raises:
        ValueError: naming file, line and field of the first fault, without any text of the file.
    """
    where = cast("IO[bytes]", source) if hasattr(source, "read") else os.fsdecode(source)
    name = where if isinstance(where, str) else str(getattr(where, "name", "stream"))
    lines = Lines(where, name, "request")
    with closing(lines):
        found = list(_requests(lines, name))
    if not found:
        raise ValueError(f"{name}: no request in {lines.number:,} line{'s' * (lines.number != 1)}")
    timed = [request for request in found if request.time_s is not None]
    if timed and len(timed) < len(found):
        line = next(request.line for request in found if request.time_s is None)
        raise ValueError(f"{name}, line {line:,}: timestamp: is missing, while other lines have one")
    return tuple(sorted(found, key=lambda request: request.time_s or 0.0))


def _requests(lines: Lines, name: str) -> Iterator[PromptRequest]:
    for count, document in enumerate(documents(lines)):
        try:
            if document.fault:
                raise document.fault
            if count == MOST_LOGGED:
                raise UsageFault("", f"more than {MOST_LOGGED:,} requests; give a part of the log (head -n)")
            yield request_of(document.values, document.line)
        except UsageFault as fault:
            raise ValueError(f"{name}, line {document.line:,}: {fault.unquoted}") from None


def request_of(document: Mapping[str, Any], line: int = 0) -> PromptRequest:
    """Return the request that an object of a log is, or holds.

    Args:
        document: as JSON has it.
        line: where it begins.

    Raises:
        UsageFault: no request, or one that is not written as the interfaces take it.
    """
    _check_depth(document)
    layers = _layers(document)
    body = layers[-1]
    form = _form(body)
    _check_body(body, form)
    moment, _ = moment_within(layers)
    return PromptRequest(line, body, form, moment.timestamp() if moment else None)


def _layers(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the object and those within it on the way to the request, which is the last."""
    layers = [document]
    while not _is_request(layers[-1]) and len(layers) <= _OUTERMOST:
        inner = next((v for name in _HOLDERS if isinstance(v := layers[-1].get(name), dict)), None)
        if inner is None:
            break
        layers.append(inner)
    if not _is_request(layers[-1]):
        right = 'a request has "messages" (chat completions, Anthropic) or "input" (responses)'
        raise UsageFault("messages", f"is missing; {right}, alone or within {', '.join(map(repr, _HOLDERS))}")
    return layers


def _is_request(value: Mapping[str, Any]) -> bool:
    return any(value.get(name) is not None for name in ("messages", "input"))


def _form(body: Mapping[str, Any]) -> RequestForm:
    if body.get("messages") is None:
        return "responses"
    tools = body.get("tools")
    schemas = isinstance(tools, list) and any(isinstance(t, dict) and "input_schema" in t for t in tools)
    claude = str(body.get("model") or "").lower().startswith(("claude", "anthropic"))
    return "messages" if claude or schemas or "system" in body or "anthropic_version" in body else "chat"


# --- what is refused -------------------------------------------------------------------------------------------


def _check_depth(document: Mapping[str, Any]) -> None:
    level: list[Any] = [document]
    for _ in range(DEEPEST):
        level = [inner for each in level for inner in _inner(each)]
        if not level:
            return
    raise UsageFault("", f"nested deeper than {DEEPEST} levels")


def _inner(value: Any) -> Iterator[Any]:
    held = value.values() if isinstance(value, dict) else value
    return (each for each in held if isinstance(each, dict | list))


def _check_body(body: Mapping[str, Any], form: RequestForm) -> None:
    if body.get("model") is not None and (not isinstance(body["model"], str) or len(body["model"]) > 200):
        raise UsageFault("model", "should be the name of a model")
    if form == "responses":
        if not isinstance(body["input"], str | list):
            raise UsageFault("input", f"is {_kind(body['input'])}, should be text or a list")
        if not body["input"]:
            raise UsageFault("input", "is empty; a request has at least one message")
        _check_messages(body["input"] if isinstance(body["input"], list) else [], "input", "type")
        _check_text(body.get("instructions"), "instructions")
    else:
        if not isinstance(body["messages"], list):
            raise UsageFault("messages", f"is {_kind(body['messages'])}, should be a list of messages")
        if not body["messages"]:
            raise UsageFault("messages", "is empty; a request has at least one message")
        _check_messages(body["messages"], "messages", None)
        _check_content(body.get("system"), "system")
    _check_objects(body.get("tools"), "tools")


def _check_messages(messages: Sequence[Any], name: str, instead: str | None) -> None:
    for i, message in enumerate(messages):
        here = f"{name}[{i}]"
        if not isinstance(message, dict):
            raise UsageFault(here, f"is {_kind(message)}, should be an object with role and content")
        if not isinstance(message.get("role", message.get(instead) if instead else None), str):
            raise UsageFault(f"{here}.role", "should be text, such as user")
        _check_content(message.get("content"), f"{here}.content")


def _check_content(value: Any, name: str) -> None:
    """Content is text, or a list of texts and objects."""
    if value is None or isinstance(value, str):
        return
    if not isinstance(value, list):
        raise UsageFault(name, f"is {_kind(value)}, should be text or a list of parts")
    for i, part in enumerate(value):
        if not isinstance(part, dict | str):
            raise UsageFault(f"{name}[{i}]", f"is {_kind(part)}, should be a part: an object with type and text")
        if isinstance(part, dict) and part.get("text") is not None:
            _check_text(part["text"], f"{name}[{i}].text")


def _check_text(value: Any, name: str) -> None:
    if value is not None and not isinstance(value, str):
        raise UsageFault(name, f"is {_kind(value)}, should be text")


def _check_objects(value: Any, name: str) -> None:
    if value is None:
        return
    if not isinstance(value, list):
        raise UsageFault(name, f"is {_kind(value)}, should be a list of tools")
    for i, each in enumerate(value):
        if not isinstance(each, dict):
            raise UsageFault(f"{name}[{i}]", f"is {_kind(each)}, should be an object")


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
