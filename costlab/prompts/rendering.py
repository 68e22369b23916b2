"""The bytes that a prompt cache sees of a request, in the order in which makers put them, with a place for each.

Tools come first, then the schema of the answer, then the system's text, then the messages: OpenAI's guide says that
schemas stand before the system message and that tools are part of the prefix
(developers.openai.com/api/docs/guides/prompt-caching), Anthropic's that tools stand before system and messages
(platform.claude.com/docs/en/build-with-claude/prompt-caching). How a maker writes the bytes between them is not
published; what is written here differs where the request differs, and that is what counts.

A place names the fields of the interface and positions in lists (`tools[2].parameters.properties`,
`messages[3].content`), never a name out of the request.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from costlab.prompts.requests import PromptRequest

#: Marks in a request that say where a cache may end; they are no part of the prompt.
MARKS = ("cache_control", "prompt_cache_breakpoint")

#: The field that held OpenAI's tools before `tools` did, which is still taken.
FUNCTIONS = "functions"

#: Fields that say how the answer is to be written.
SCHEMAS = ("response_format", "text", "output_config")

#: Fields that a place may name; below any other key it goes no deeper.
_FIELDS = frozenset(
    (
        "function", "name", "description", "parameters", "input_schema", "properties", "required", "type", "content",
        "text", "strict", "tool_calls", "arguments", "schema", "json_schema", "format", "output",
    )
)  # fmt: skip
_BELOW = frozenset(("properties", "arguments", "schema", "required"))

#: Parts of a message that are no text.
OPAQUE = ("image", "image_url", "input_image", "file", "input_file", "input_audio", "audio", "video", "document")

#: Of a message: what is written first, whatever the order in the log, and what no model reads.
_FIRST = ("role", "type", "name", "tool_call_id", "call_id")
_UNREAD = ("id", "status", *MARKS)


@dataclass(frozen=True, repr=False)
class Rendered:
    """A request as the bytes that a cache compares."""

    data: bytes  # all of it
    starts: tuple[int, ...]  # where each segment begins, rising from 0
    paths: tuple[str, ...]  # the place in the request of each segment
    marks: tuple[int, ...]  # ends of what the request marks to be kept, rising
    partition: tuple[str, ...]  # requests that differ in it never share: model, cache key
    opaque: int = 0  # images and files, of which only a hash is in the bytes

    def __repr__(self) -> str:
        return f"Rendered({len(self.data):,} bytes in {len(self.paths)} segments)"  # no text

    def segment_at(self, offset: int) -> int:
        """Return the index of the segment in which a byte lies; the last one's for the end."""
        return max(0, bisect_right(self.starts, min(offset, len(self.data) - 1)) - 1)

    def path_at(self, offset: int) -> str:
        """Return the place in the request of a byte."""
        return self.paths[self.segment_at(offset)]

    def segment(self, index: int) -> bytes:
        """Return the bytes of a segment."""
        end = self.starts[index + 1] if index + 1 < len(self.starts) else len(self.data)
        return self.data[self.starts[index] : end]

    def segments(self) -> Iterator[tuple[str, bytes]]:
        """Yield place and bytes of each segment."""
        return ((path, self.segment(i)) for i, path in enumerate(self.paths))


def rendered(request: PromptRequest) -> Rendered:
    """Return the bytes that a cache sees of a request, and where each is from."""
    out, body = _Writer(), request.body
    for i, tool in enumerate(body.get("tools") or ()):
        out.json(tool, f"tools[{i}]")
        out.put(f"tools[{i}]", "\n", mark=tool)
    for name in (FUNCTIONS, *SCHEMAS):
        if isinstance(body.get(name), list if name == FUNCTIONS else dict):
            out.json(body[name], name)
            out.put(name, "\n")
    for name in ("system", "instructions"):
        if body.get(name) is not None:
            out.put(name, "\n<system>\n")
            out.apart = True
            out.content(body[name], name)
    if request.form == "messages":  # changing them keeps the cache of tools and system
        for name in ("tool_choice", "thinking"):
            if body.get(name) is not None:
                out.json(body[name], name)
    for i, message in enumerate(request.turns):
        out.message(message, f"{request.turns_name}[{i}]")
    if any(isinstance(body.get(name), dict) for name in MARKS):  # the whole request is marked
        out.mark()
    return out.done((request.model, _text(body.get("prompt_cache_key"))))


@dataclass
class _Writer:
    """Gathers segments; neighbours of one place become one."""

    parts: list[bytes] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    size: int = 0
    opaque: int = 0
    apart: bool = False  # whether what comes next is a segment of its own in any case

    def put(self, path: str, text: str, mark: Any = None) -> None:
        """Add text at a place; with `mark` an object that may have a mark at its end."""
        raw = text.encode("utf-8", "surrogatepass")
        if raw and (self.apart or not self.paths or self.paths[-1] != path):
            self.apart = False
            self.starts.append(self.size)
            self.paths.append(path)
        self.parts.append(raw)
        self.size += len(raw)
        if isinstance(mark, dict) and any(isinstance(mark.get(name), dict) for name in MARKS):
            self.mark()

    def mark(self) -> None:
        """Note that what is written so far is to be kept."""
        if self.size and self.size not in self.marks[-1:]:
            self.marks.append(self.size)

    def json(self, value: Any, path: str) -> None:
        """Add a value as JSON, keys in their order."""
        for place, text in _placed(value):
            self.put(path + place, text)

    def content(self, value: Any, path: str) -> None:
        """Add text, or a list of parts."""
        if not isinstance(value, list):
            self.put(path, _text(value))
            return
        for i, part in enumerate(value):
            self.part(part, f"{path}[{i}]")

    def part(self, part: Any, path: str) -> None:
        """Add a part of a message: text as it is, an image or file as a hash, anything else as JSON."""
        if isinstance(part, str):
            self.put(path, part)
            return
        source = part.get("source")
        text = source.get("data") if isinstance(source, dict) and source.get("type") == "text" else part.get("text")
        if isinstance(text, str):
            self.put(path, text, part)
        elif part.get("type") in OPAQUE:
            self.opaque += 1
            self.put(path, f"<{content_hash(part)}>", part)
        else:
            self.json({key: each for key, each in part.items() if key not in MARKS}, path)
            self.put(path, "", part)

    def message(self, message: Mapping[str, Any], path: str) -> None:
        """Add a message: whose it is, then what it says."""
        head = " ".join(_text(message[name]) for name in _FIRST if message.get(name) is not None)
        self.put(f"{path}.role", f"\n<{head}>\n")
        for name in ("reasoning_content", "content", "tool_calls"):
            if message.get(name) is None:
                continue
            if name == "tool_calls":
                self.json(message[name], f"{path}.{name}")
            else:
                self.content(message[name], f"{path}.{name}")
        known = (*_FIRST, "reasoning_content", "content", "tool_calls", *_UNREAD)
        rest = {key: each for key, each in message.items() if key not in known and each is not None}
        if rest:
            self.json(rest, path)
        self.put(f"{path}.role", "", message)

    def done(self, partition: Sequence[str]) -> Rendered:
        """Return what was written."""
        data = b"".join(self.parts)
        return Rendered(data, tuple(self.starts), tuple(self.paths), tuple(self.marks), tuple(partition), self.opaque)


#: Pieces of values that were written before: a log has the same tools again and again.
_WRITTEN: dict[str, tuple[tuple[str, str], ...]] = {}
_MOST_WRITTEN = 4096


def _placed(value: Any) -> tuple[tuple[str, str], ...]:
    """Return a value as JSON in pieces, neighbours of one place together, each with its place below the value's."""
    try:
        key = json.dumps(value, ensure_ascii=False)
    except TypeError:  # a Decimal
        return tuple(_pieces(value, ""))
    if key not in _WRITTEN:
        if len(_WRITTEN) >= _MOST_WRITTEN:
            _WRITTEN.clear()
        neighbours = itertools.groupby(_pieces(value, ""), key=lambda piece: piece[0])
        _WRITTEN[key] = tuple((place, "".join(text for _, text in pieces)) for place, pieces in neighbours)
    return _WRITTEN[key]


def _pieces(value: Any, path: str, deeper: bool = True) -> Iterator[tuple[str, str]]:
    """Yield a value as JSON in pieces, each with its place."""
    if not deeper and (text := _whole(value)) is not None:
        yield path, text
    elif isinstance(value, dict):
        yield path, "{"
        for i, (key, each) in enumerate((k, v) for k, v in value.items() if k not in MARKS):
            named = deeper and key in _FIELDS
            place = f"{path}.{key}" if named and key != "function" else path
            yield path, f"{', ' if i else ''}{json.dumps(key, ensure_ascii=False)}: "
            yield from _pieces(each, place, named and key not in _BELOW)
        yield path, "}"
    elif isinstance(value, list):
        yield path, "["
        for i, each in enumerate(value):
            yield path, ", " if i else ""
            yield from _pieces(each, path, deeper)
        yield path, "]"
    else:
        yield path, _scalar(value)


def _whole(value: Any) -> str | None:
    """Return a value as JSON at once; None where it has numbers with their digits, or marks to be left out."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except TypeError:  # a Decimal
        return None
    return None if any(mark in text for mark in MARKS) else text


def _scalar(value: Any) -> str:
    return str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json_text(value)


def json_text(value: Any) -> str:
    """Return a value as JSON with its keys in their order, marks left out."""
    return "".join(text for _, text in _pieces(value, "", deeper=False))


def key_sorted(value: Any) -> Any:
    """Return a value with the keys of all its objects in alphabetical order, marks left out."""
    if isinstance(value, dict):
        return {key: key_sorted(value[key]) for key in sorted(value) if key not in MARKS}
    return [key_sorted(each) for each in value] if isinstance(value, list) else value


def content_hash(value: Any) -> str:
    """Return a hash of a value, whatever the order of its keys."""
    text = json_text(key_sorted(value))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
