"""The same requests written in another order: every tool, part and sentence stays, once, in each of them."""

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from costlab.prompts.patterns import volatile_values, without_volatile
from costlab.prompts.rendering import MARKS, OPAQUE, SCHEMAS, content_hash, json_text, rendered
from costlab.prompts.requests import PromptRequest

#: Parts shorter than this are no documents.
_DOCUMENT_BYTES = 256

#: Marks that a request may have, with Anthropic and OpenAI alike.
_MOST_MARKS = 4

_SENTENCE = re.compile(r"(?<=[.!?])(\s+)|(\n+)")
_OPENED = re.compile(r"<(documents?|doc|context|file|source)\b[^<>]*>")
_DOCUMENT = re.compile(_OPENED.pattern + r".*?</\1>\s*", re.S)
_SPACE = re.compile(r"\s*")


class Trailing(dict[str, Any]):
    """What was put at the end of a request since it varies: no cache should end behind it."""


def tools_sorted(requests: Sequence[PromptRequest]) -> list[PromptRequest]:
    """Return the requests with their tools sorted by name; those that are sorted stay what they are."""
    return [_tools_sorted(request) for request in requests]


def _tools_sorted(request: PromptRequest) -> PromptRequest:
    tools = request.body.get("tools") or []
    found = sorted(tools, key=_tool_key)
    return request if found == tools else _with(request, tools=found)


def _tool_key(tool: Mapping[str, Any]) -> tuple[str, str]:
    inner = tool.get("function")
    return str((inner if isinstance(inner, dict) else tool).get("name")), content_hash(tool)


def keys_sorted(requests: Sequence[PromptRequest]) -> list[PromptRequest]:
    """Return the requests with the keys of tools and of the answer's schema in alphabetical order."""
    return [_keys_sorted(request) for request in requests]


def _keys_sorted(request: PromptRequest) -> PromptRequest:
    given = {name: request.body[name] for name in ("tools", *SCHEMAS) if name in request.body}
    found = {name: _sorted_keys(value) for name, value in given.items()}
    return request if json_text(found) == json_text(given) else _with(request, **found)


def _sorted_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted_keys(value[key]) for key in sorted(value)}
    return [_sorted_keys(each) for each in value] if isinstance(value, list) else value


def _with(request: PromptRequest, **fields: Any) -> PromptRequest:
    """Return a request with other fields, each at its place."""
    return request.with_body({**request.body, **fields})


# --- what varies goes last -------------------------------------------------------------------------------------


def volatile_last(requests: Sequence[PromptRequest]) -> list[PromptRequest]:
    """Return the requests with those sentences of their system texts at the end in which only times or ids vary."""
    versions: dict[bytes, set[str]] = {}
    for sentence in {each.strip() for request in requests for each in _sentences(request)}:
        if volatile_values(raw := sentence.encode("utf-8", "surrogatepass")):
            versions.setdefault(without_volatile(raw), set()).add(sentence)
    varying = {sentence for found in versions.values() if len(found) > 1 for sentence in found}
    return [_moved_last(request, varying) for request in requests]


def _sentences(request: PromptRequest) -> Iterator[str]:
    for text in _system_texts(request):
        yield from _split(text)


@functools.lru_cache(maxsize=256)
def _split(text: str) -> tuple[str, ...]:
    """Return the sentences and lines of a text, each with the white space behind it: joined they are the text."""
    parts = [part for part in _SENTENCE.split(text) if part]
    found: list[str] = []
    for part in parts:
        if part.isspace() and found:
            found[-1] += part
        else:
            found.append(part)
    return tuple(found)


def _system_texts(request: PromptRequest) -> Iterator[str]:
    values = [request.body.get("system"), request.body.get("instructions")]
    values += [turn.get("content") for turn in request.turns if _instructs(turn)]
    for value in values:
        if isinstance(value, str):
            yield value
        for part in value if isinstance(value, list) else ():
            text = part if isinstance(part, str) else part.get("text")
            if isinstance(text, str):
                yield text


def _instructs(turn: Mapping[str, Any]) -> bool:
    return turn.get("role") in ("system", "developer")


def _moved_last(request: PromptRequest, varying: set[str]) -> PromptRequest:
    if request.turns[-1].get("role") == "assistant":  # the answer was begun: nothing may stand behind it
        return request
    taken: list[str] = []

    def kept(text: str) -> str:
        """Return a text without its varying sentences, unless nothing would be left of it."""
        sentences = _split(text)
        stay = [each for each in sentences if each.strip() not in varying]
        if not "".join(stay).strip():
            return text
        taken.extend(each.strip() for each in sentences if each.strip() in varying)
        return "".join(stay)

    body = _system_changed(request, kept)
    turns = [_with_text(turn, kept) if _instructs(turn) else turn for turn in request.turns]
    if not taken:
        return request
    return request.with_body({**body, request.turns_name: _with_trailing(request, turns, "\n".join(taken))})


def _system_changed(request: PromptRequest, change: Callable[[str], str]) -> dict[str, Any]:
    body = dict(request.body)
    for name in ("system", "instructions"):
        if body.get(name) is not None:
            body[name] = _changed(body[name], change)
    return body


def _with_text(turn: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    return {**turn, "content": _changed(turn.get("content"), change)}


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    """Return content with each of its texts changed."""
    if isinstance(value, str):
        return change(value)
    if not isinstance(value, list):
        return value
    parts: list[Any] = []
    for part in value:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            parts.append({**part, "text": change(part["text"])})
        else:
            parts.append(change(part) if isinstance(part, str) else part)
    return parts


def _with_trailing(request: PromptRequest, turns: list[Any], text: str) -> list[Any]:
    """Return messages with a text behind them: in the last one if it is the user's, else as one more of the user's."""
    kind = "input_text" if request.form == "responses" else "text"
    part = Trailing(type=kind, text=text)
    last = turns[-1]
    if last.get("role") != "user" or last.get("content") is None:
        return [*turns, Trailing(role="user", content=text)]
    content = last["content"]
    before = [{"type": kind, "text": content}] if isinstance(content, str) else content
    return [*turns[:-1], {**last, "content": [*before, part]}]


# --- documents before the question -----------------------------------------------------------------------------


def documents_first(requests: Sequence[PromptRequest]) -> list[PromptRequest]:
    """Return the requests with the documents of each user's message in front, those that come most often first.

    A document is a long part of a message, an image or file, or a block of text between tags such as <document>, that
    stands in at least two different messages.
    """
    seen: dict[str, set[str]] = {}
    for request in requests:
        for turn in request.turns:
            for key in map(_document_key, _user_parts(turn)):
                if key:
                    seen.setdefault(key, set()).add(content_hash(turn))
    counts = Counter({key: len(turns) for key, turns in seen.items() if len(turns) > 1})
    return [_documents_ordered(request, counts) for request in requests]


def _user_parts(turn: Mapping[str, Any]) -> list[Any]:
    """Return what may change places in a message: parts, or blocks of a text; nothing where results of tools stand."""
    content = turn.get("content")
    if turn.get("role") != "user" or content is None:
        return []
    if isinstance(content, str):
        return _blocks(content)
    if any(isinstance(part, dict) and part.get("type") == "tool_result" for part in content):
        return []
    return [piece for part in content for piece in _part_blocks(part)]


def _part_blocks(part: Any) -> list[Any]:
    """Return a part whose text has blocks between tags as a part for each; any other as it is."""
    text = part.get("text") if isinstance(part, dict) else None
    if not isinstance(text, str) or isinstance(part, Trailing) or any(mark in part for mark in MARKS):
        return [part]
    return [{**part, "text": block} for block in _blocks(text)] or [part]


def _blocks(text: str) -> list[str]:
    """Return a text as its blocks between tags and what lies around them: joined they are the text."""
    found, end = [], 0
    for start, stop in _document_spans(text):
        found += [text[end:start], text[start:stop]]
        end = stop
    return [part for part in (*found, text[end:]) if part]


def _document_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each block between tags begins and ends, in time that grows with the text and not with its square."""
    at = 0
    unclosed: set[str] = set()  # a text of tags that no one closes would be searched to its end for each of them
    while opened := _OPENED.search(text, at):
        name, at = opened[1], opened.end()
        close = -1 if name in unclosed else text.find(f"</{name}>", at)
        if close < 0:
            unclosed.add(name)
            continue
        space = _SPACE.match(text, close + len(f"</{name}>"))
        at = space.end() if space else close
        yield opened.start(), at


def _document_key(part: Any) -> str | None:
    text = part if isinstance(part, str) else part.get("text")
    if not isinstance(text, str):
        return content_hash(part)
    if isinstance(part, Trailing) or (isinstance(part, str) and not _DOCUMENT.fullmatch(part)):
        return None
    return content_hash(text.strip()) if len(text) >= _DOCUMENT_BYTES else None


def _documents_ordered(request: PromptRequest, counts: Counter[str]) -> PromptRequest:
    turns = [_turn_ordered(turn, counts) for turn in request.turns]
    return request if turns == request.turns else request.with_body({**request.body, request.turns_name: turns})


def _turn_ordered(turn: Any, counts: Counter[str]) -> Any:
    parts = _user_parts(turn)
    keys = [_document_key(part) for part in parts]
    common = [(key, part) for key, part in zip(keys, parts, strict=True) if key and counts[key]]
    rest = [part for key, part in zip(keys, parts, strict=True) if not (key and counts[key])]
    first = [part for key, part in sorted(common, key=lambda each: (-counts[each[0]], each[0]))]
    if not first or [*first, *rest] == list(parts):
        return turn
    return {**turn, "content": _joined([*map(_one_line_end, first), *rest])}


def _one_line_end(part: Any) -> Any:
    """Return a document with one line end behind it, so that it is the same at each place."""
    text = part if isinstance(part, str) else part.get("text")
    if not isinstance(text, str):
        return part
    return f"{text.strip()}\n" if isinstance(part, str) else {**part, "text": f"{text.strip()}\n"}


def _joined(parts: list[Any]) -> Any:
    """Return pieces of one text as a text, others as parts."""
    texts = [part for part in parts if isinstance(part, str)]
    return "".join(texts) if len(texts) == len(parts) else parts


# --- marks -----------------------------------------------------------------------------------------------------


def marked(requests: Sequence[PromptRequest]) -> list[PromptRequest]:
    """Return the requests with marks at the ends of tools and system, of leading documents and of the last message."""
    return [_marked_within_limit(request) for request in requests]


def _marked_within_limit(request: PromptRequest) -> PromptRequest:
    """Return a request with new marks beside its own; in their place where they would be too many."""
    found = _marked(request)
    if len(rendered(found).marks) > _MOST_MARKS:
        found = _marked(request.with_body(_unmarked(request.body)))
    return request if rendered(found).marks == rendered(request).marks else found


def _unmarked(value: Any) -> Any:
    """Return a value without marks, wherever they stand."""
    if isinstance(value, dict):
        return type(value)((key, _unmarked(each)) for key, each in value.items() if key not in MARKS)
    return [_unmarked(each) for each in value] if isinstance(value, list) else value


def _marked(request: PromptRequest) -> PromptRequest:
    own = request.form == "messages"
    name = "cache_control" if own else "prompt_cache_breakpoint"
    value = {"type": "ephemeral"} if own else {"mode": "explicit"}
    kind = "input_text" if request.form == "responses" else "text"
    body = {key: each for key, each in request.body.items() if key not in MARKS}
    turns = list(request.turns)
    last = max((i for i, turn in enumerate(turns) if not isinstance(turn, Trailing)), default=None)
    instructing = [i for i, turn in enumerate(turns) if _instructs(turn)]
    for i in {*instructing[-1:], *([] if last is None else [last])}:
        turns[i] = _with_mark(_documents_marked(turns[i], kind, name, value), "content", kind, name, value)
    if body.get("system") is not None:
        body = _with_mark(body, "system", kind, name, value)
    elif body.get("tools") and not instructing:
        body["tools"] = [*body["tools"][:-1], {**body["tools"][-1], name: value}]
    return request.with_body({**body, request.turns_name: turns})


def _documents_marked(turn: Any, kind: str, name: str, value: Any) -> Any:
    """Return a user's message with a mark behind the last of the documents that it begins with."""
    parts = [p if isinstance(p, dict) else {"type": kind, "text": p} for p in _user_parts(turn)]
    leading = list(itertools.takewhile(_is_document, parts))
    if not leading or len(leading) == len(parts):
        return turn
    return {**turn, "content": [*leading[:-1], {**leading[-1], name: value}, *parts[len(leading) :]]}


def _is_document(part: dict[str, Any]) -> bool:
    text = part.get("text")
    return bool(_DOCUMENT.fullmatch(text)) if isinstance(text, str) else part.get("type") in OPAQUE


def _with_mark(holder: Any, field: str, kind: str, name: str, value: Any) -> Any:
    """Return an object whose content has a mark on the last part that stays."""
    content = holder.get(field)
    parts: list[Any] = [{"type": kind, "text": content}] if isinstance(content, str) else list(content or ())
    at = max((i for i, part in enumerate(parts) if not isinstance(part, Trailing)), default=None)
    if at is None:
        return {**holder, name: value}
    part = parts[at] if isinstance(parts[at], dict) else {"type": kind, "text": parts[at]}
    parts[at] = {**part, name: value}
    return {**holder, field: parts}
