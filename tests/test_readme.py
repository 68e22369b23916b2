"""README.md is what a stranger reads first: its links and its Python must be true; its commands, tests/cli runs."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_links_exist() -> None:
    """Files that README.md links to exist, the picture included."""
    targets = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())
    missing = [t for t in targets if not t.startswith("http") and not (ROOT / t).exists()]
    assert targets
    assert not missing


def test_python_example_runs() -> None:
    """The Python block runs as it stands."""
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert block
    exec(compile(block[1], "README.md", "exec"), {})
