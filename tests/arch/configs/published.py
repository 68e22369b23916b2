"""Published configurations that the tests read."""

import json
import os
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
#: All public configurations, where they are at hand.
ALL = Path(os.environ.get("COSTLAB_SHARED", Path(__file__).parents[4] / "shared")) / "data" / "configs.jsonl"


def published() -> dict[str, dict[str, Any]]:
    """Return a configuration of each family by name, with the parameters that transformers' class holds."""
    rows = [json.loads(line) for line in (_HERE / "published.jsonl").read_text().splitlines()[1:]]
    return {row["name"]: row for row in rows}


def every() -> dict[str, dict[str, Any]]:
    """Return all public configurations, those of the project only where the others are not at hand."""
    if not ALL.is_file():
        return published()
    return {row["name"]: row for row in map(json.loads, ALL.read_text().splitlines())}
