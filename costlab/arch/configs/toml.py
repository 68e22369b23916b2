"""Write a model's record as the TOML that adds it to the catalog."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from costlab.catalog import ModelRecord

#: Fields in the catalog's order; tables stand behind them.
_FIRST = ("name", "maker", "hidden", "vocab", "context", "residual_streams", "streams_mixed", "streams_joined",
          "tied", "norms", "prefill_layers", "source", "date", "note")  # fmt: skip
_TABLES = ("published", "lookup", "attention", "ffn", "mtp", "weights", "running", "math")


def to_toml(key: str, record: ModelRecord) -> str:
    """Return the text that describes a model in catalog/models.toml; what has its default is left out.

    Args:
        key: of the model in the catalog.
        record: its dimensions.
    """
    plain = {f.name: getattr(record, f.name) for f in dataclasses.fields(record) if not _is_default(record, f)}
    lines = [f"[{_key(key)}]", *(f"{name} = {_value(plain[name])}" for name in _FIRST if name in plain), "layers = ["]
    for run in record.layers:
        lines.append(f"  {{ repeat = {run.repeat}, pairs = {_value([list(pair) for pair in run.pairs])} }},")
    lines.append("]")
    for name in _TABLES:
        if name in plain and plain[name] is not None:
            lines += _table(f"{_key(key)}.{name}", _as_mapping(plain[name]))
    return "\n".join(lines) + "\n"


def _table(path: str, table: Mapping[str, Any]) -> list[str]:
    inner = {name: _as_mapping(v) for name, v in table.items() if isinstance(v, Mapping) or dataclasses.is_dataclass(v)}
    own = [
        f"{_key(name)} = {_value(value)}" for name, value in table.items() if name not in inner and value is not None
    ]
    lines = [f"[{path}]", *own] if own else []
    for name, value in inner.items():
        lines += _table(f"{path}.{_key(name)}", value)
    return lines


def _as_mapping(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if not _is_default(value, f)}


def _is_default(record: Any, field: dataclasses.Field[Any]) -> bool:
    default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
    return default is not dataclasses.MISSING and getattr(record, field.name) == default


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=True)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(each) for each in value)}]"
    return repr(value)
