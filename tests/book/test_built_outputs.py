"""Nbval sees another output of the book's build as it sees that of a kernel of its own."""

from collections.abc import Iterator
from typing import Any

import pytest
from built_outputs import KernelOfTheBuild
from nbformat import NotebookNode, v4, write
from nbval.plugin import IPyNbFile, NbCellError


def cell(source: str, outputs: list[NotebookNode], *tags: str) -> NotebookNode:
    """A cell that ran, with what it gave."""
    return v4.new_code_cell(source, outputs=outputs, execution_count=1, metadata={"tags": list(tags)})


def said(*texts: str) -> list[NotebookNode]:
    """Each text as one piece of the standard output."""
    return [v4.new_output("stream", text=text) for text in texts]


def shown(**data: str) -> list[NotebookNode]:
    """What a cell displays, by kind."""
    return [v4.new_output("display_data", {kind.replace("_", "/"): text for kind, text in data.items()})]


def compare(request: pytest.FixtureRequest, stored: list[NotebookNode], built: list[NotebookNode]) -> Iterator[Any]:
    """Have nbval run the stored notebook's cells against what a build got."""
    path = request.getfixturevalue("tmp_path") / "a.ipynb"
    write(v4.new_notebook(cells=stored), path)
    file = IPyNbFile.from_parent(request.session, path=path)
    file.kernel = KernelOfTheBuild(built)
    file.setup_sanitize_files()
    for item in file.collect():
        item.runtest()
        yield item


@pytest.mark.parametrize(
    ("stored", "built", "tags"),
    [
        (said("1\n"), said("1\n"), []),
        (said("a in 3 ms\n"), said("a in ", "5 ms\n"), []),
        (said("1\n"), said("2\n"), ["nbval-ignore-output"]),
        (shown(text_plain="a", image_png="b"), shown(text_plain="a", image_png="c"), []),
        (said("1\n") + shown(text_plain="a"), shown(text_plain="a") + said("1\n"), []),
    ],
)
def test_equal_outputs_pass(
    request: pytest.FixtureRequest, stored: list[NotebookNode], built: list[NotebookNode], tags: list[str]
) -> None:
    assert len(list(compare(request, [cell("f()", stored, *tags)], [cell("f()", built, *tags)]))) == 1


@pytest.mark.parametrize(
    ("stored", "built"),
    [
        (said("1\n"), said("2\n")),
        (said("1\n"), []),
        ([], said("1\n")),
        (shown(text_plain="a"), shown(text_plain="a") * 2),
        (shown(text_plain="a"), shown(text_html="a")),
        ([], [v4.new_output("stream", name="stderr", text="deprecated")]),
        ([], [v4.new_output("error", ename="ValueError", evalue="no", traceback=["here"])]),
    ],
)
def test_another_output_fails(
    request: pytest.FixtureRequest, stored: list[NotebookNode], built: list[NotebookNode]
) -> None:
    with pytest.raises(NbCellError):
        list(compare(request, [cell("f()", stored)], [cell("f()", built)]))


def test_each_cell_is_held_against_its_own(request: pytest.FixtureRequest) -> None:
    """Cells that nbval skips, and words between, shift nothing; equal cells come one after the other."""
    notebook = [cell("n += 1; n", shown(text_plain=text)) for text in "12"]
    skipped = cell("train()", said("loss\n"), "nbval-skip")
    built = [notebook[0], v4.new_markdown_cell("And:"), skipped, notebook[1]]
    compared = compare(request, [notebook[0], notebook[1]], built)
    assert len(list(compared)) == 2
    with pytest.raises(NbCellError):
        list(compare(request, notebook[::-1], built))


def test_a_cell_that_the_build_did_not_run_fails(request: pytest.FixtureRequest) -> None:
    with pytest.raises(LookupError, match=r"no further cell that reads\ng\(\)"):
        list(compare(request, [cell("g()", [])], [cell("f()", [])]))
