"""`python tools/lab_copies.py`: a reader's own copies of the labs and of the chapters, in `labs/work`.

What is there already is never overwritten. Needs nothing but Python: it runs before anything is installed.
"""

import json
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What `make lab` does not install, and how a cell shows that it needs it.
TORCH = re.compile(r"^\s*(?:import|from) (?:torch|costlab\.nn)\b", re.M)
TRANSFORMERS = re.compile(r"^\s*(?:import|from) transformers\b", re.M)
NOTE = """**This chapter's code {cells} need PyTorch**, which `make lab` does not install. The other cells run without \
it, unless they go on from these. To run all, install it first, about 200 MB to download:

{lines}
"""
CPU = " --index-url https://download.pytorch.org/whl/cpu"  # else a Linux machine gets gigabytes for GPUs
# Chapters hand numbers to the book's text by `glue`; where a reader runs them there is no text to hand them to.
GLUE = '''"""Stands in for MyST-NB, which builds the book's pages: run by hand, a chapter's numbers go nowhere."""


def glue(name, value, display=True):
    """Show a value as the book's build would, and keep it for nobody."""
    if display:
        from IPython.display import display as show

        show(value)
'''


def copy_all(root: Path) -> None:
    """Copy labs and chapters of a repository that its `labs/work` lacks."""
    work = root / "labs" / "work"
    chapters = work / "chapters"
    chapters.mkdir(parents=True, exist_ok=True)
    for lab in sorted((root / "labs" / "release").iterdir()):
        if lab.is_dir() and not (work / lab.name).exists():
            shutil.copytree(lab, work / lab.name)
    requirements = (root / "requirements.txt").read_text(encoding="utf-8")
    for chapter in sorted((root / "book").glob("*.ipynb")):
        mine = chapters / chapter.name
        if not mine.exists():
            mine.write_text(with_note(chapter.read_text(encoding="utf-8"), requirements), encoding="utf-8")
    for figures in (root / "benchmarks").glob("**/*.json"):  # ours, which chapters read beside their own folder
        copy = work / figures.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(figures, copy)
    glue = chapters / "myst_nb.py"
    if not glue.exists():
        glue.write_text(GLUE, encoding="utf-8")


def with_note(text: str, requirements: str) -> str:
    """Return a chapter that says which of its cells need torch, if any do.

    Args:
        text: the notebook.
        requirements: what the course is tested with, as in `requirements.txt`.
    """
    notebook = json.loads(text)
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    places = [place for place, source in enumerate(code, 1) if TORCH.search(source) or TRANSFORMERS.search(source)]
    if not places:
        return text
    cells = f"cell{'s' * (len(places) > 1)} {', '.join(map(str, places))}"
    lines = [f"    %pip install {pinned('torch', requirements)}{CPU}"]
    if any(TRANSFORMERS.search(source) for source in code):
        lines += [f"    %pip install {pinned('transformers', requirements)}"]
    note = NOTE.format(cells=cells, lines="\n".join(lines))
    notebook["cells"].insert(1, {"cell_type": "markdown", "id": "needs-torch", "metadata": {}, "source": note})
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def pinned(package: str, requirements: str) -> str:
    """Return a package with the version that the course is tested with.

    Raises:
        ValueError: naming a package that has none.
    """
    found = re.search(rf"^{package}==[\d.]+", requirements, re.M)
    if not found:
        raise ValueError(f"requirements.txt should have a line like {package}==1.0")
    return found[0]


if __name__ == "__main__":
    copy_all(ROOT)
