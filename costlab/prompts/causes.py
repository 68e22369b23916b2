"""Why two requests differ at the byte where they part."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from costlab.prompts.patterns import volatile_kind
from costlab.prompts.rendering import FUNCTIONS, SCHEMAS, Rendered, content_hash, json_text
from costlab.prompts.requests import PromptRequest

#: What the bytes say: a time or an id, tools or keys in another order, another definition of a tool, other white space,
#: a block of text at another place, messages left out or changed, another system text, or text that varies before text
#: that does not.
ByteCause = Literal[
    "clock", "id", "tool order", "tool definition", "key order", "white space", "moved text", "history cut",
    "history edited", "system text", "varying text first",
]  # fmt: skip

#: Blocks shorter than this may be at two places by chance.
_BLOCK_BYTES = 64


@dataclass(frozen=True)
class Side:
    """One of two requests that are compared."""

    request: PromptRequest  # as the log has it
    prompt: Rendered  # as bytes

    @cached_property
    def tools(self) -> list[Any]:
        """Definitions of tools."""
        return list(self.request.body.get("tools") or ())

    @cached_property
    def turns(self) -> list[str]:
        """A hash of each message."""
        return [content_hash(turn) for turn in self.request.turns]

    def place(self, offset: int) -> tuple[str, int, bytes]:
        """Return the place of a byte, how far it lies from its beginning, and the whole text there."""
        index = self.prompt.segment_at(offset)
        return self.prompt.paths[index], offset - self.prompt.starts[index], self.prompt.segment(index)

    def lines_behind(self, offset: int) -> set[bytes]:
        """Return the longer lines that begin at a place or behind it."""
        start = self.prompt.data.rfind(b"\n", 0, offset) + 1
        return {line for line in self.prompt.data[start:].split(b"\n") if len(line) >= _BLOCK_BYTES}

    def line_at(self, offset: int) -> bytes:
        """Return the line in which a byte lies."""
        start = self.prompt.data.rfind(b"\n", 0, offset) + 1
        end = self.prompt.data.find(b"\n", offset)
        return self.prompt.data[start : end if end >= 0 else None]


def byte_cause(before: Side, after: Side, offset: int) -> tuple[ByteCause, str, int]:
    """Return why two requests part at a byte, the place in the later one, and how far the byte lies in it.

    Args:
        before: the earlier request.
        after: the later one.
        offset: up to which their bytes agree.
    """
    path, local, text = after.place(offset)
    earlier_path, _, earlier = before.place(offset)
    if path.startswith("tools[") or earlier_path.startswith("tools["):
        if (kind := _tools_cause(before, after)) is not None:
            return (kind, "tools", offset) if kind == "tool order" else (kind, path, local)
        path = path if path.startswith("tools[") else "tools"
    if earlier_path == path:
        if (volatile := volatile_kind(earlier, text, local)) is not None:
            return volatile, path, local
        if (same := _same_text(earlier, text)) is not None:
            return same, path, local
    name = path.split("[")[0].split(".")[0]
    if name in ("tools", FUNCTIONS, *SCHEMAS):
        values = [side.request.body.get(name) for side in (before, after)]
        return "key order" if content_hash(values[0]) == content_hash(values[1]) else "tool definition", path, local
    return _text_cause(before, after, offset, path), path, local


def _tools_cause(before: Side, after: Side) -> ByteCause | None:
    """Return what of the tools' order or keys differs; None where a definition does."""
    old, new = ([content_hash(tool) for tool in side.tools] for side in (before, after))
    if old != new and sorted(old) == sorted(new):
        return "tool order"
    if old == new:
        written = ([json_text(tool) for tool in side.tools] for side in (before, after))
        return "key order" if next(written) != next(written) else None
    names = [[_name(tool) for tool in side.tools] for side in (before, after)]
    return "tool order" if names[0] != names[1] and sorted(names[0]) == sorted(names[1]) else None


def _name(tool: Any) -> str:
    inner = tool.get("function")
    return str((inner if isinstance(inner, dict) else tool).get("name"))


def _same_text(a: bytes, b: bytes) -> ByteCause | None:
    """Return whether two texts are the same but for white space, or the same JSON with other keys first."""
    if a.split() == b.split() or b"".join(a.split()) == b"".join(b.split()):
        return "white space"
    values = _parsed(a), _parsed(b)
    if all(isinstance(value, dict | list) for value in values) and content_hash(values[0]) == content_hash(values[1]):
        return "key order"
    return None


def _parsed(text: bytes) -> Any:
    if text[:1] not in (b"{", b"[", b'"'):
        return None
    try:
        value = json.loads(text)
        return json.loads(value) if isinstance(value, str) else value  # arguments are JSON within a text
    except (ValueError, RecursionError):
        return None


def _text_cause(before: Side, after: Side, offset: int, path: str) -> ByteCause:
    found = re.match(r"(?:messages|input)\[(\d+)\]", path)
    turn = int(found[1]) if found else None
    instructs = path.split("[")[0].split(".")[0] in ("system", "instructions")
    if turn is not None and _role(after, turn) in ("system", "developer"):
        turn, instructs = None, True
    if turn is not None and (kind := _turns_cause(before.turns, after.turns, turn)) is not None:
        return kind
    if _moved(before, after, offset):
        return "moved text"
    return "system text" if instructs else "varying text first"


def _turns_cause(old: Sequence[str], new: Sequence[str], at: int) -> ByteCause | None:
    """Return what happened to the messages from one on: moved, left out, changed; None where none comes again."""
    if at >= len(old) or at >= len(new) or old[at] == new[at]:
        return None
    gone, come = set(old[at + 1 :]), set(new[at + 1 :])
    if new[at] in gone:
        return "moved text" if old[at] in come else "history cut"
    return "history edited" if old[at] in come or gone & come else None


def _moved(before: Side, after: Side, offset: int) -> bool:
    """Whether each text goes on with a line that stands further behind in the other one."""
    old, new = before.line_at(offset), after.line_at(offset)
    return old != new and old in after.lines_behind(offset) and new in before.lines_behind(offset)


def _role(side: Side, index: int) -> str:
    turn = side.request.turns[index] if index < len(side.request.turns) else {}
    return str(turn.get("role", "")) if isinstance(turn, dict) else ""
