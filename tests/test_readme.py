"""README.md is what a stranger reads first: its commands, outputs and links must be true; so is the reference's."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_shown_output_is_current() -> None:
    """Each shown command prints today what README.md and the book's page on the command line show."""
    run = subprocess.run(
        [sys.executable, "tools/readme_output.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


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
