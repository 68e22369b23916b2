"""The build's comparison of a page's slice with its notebook, and the numbers that prose takes from outputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from live_sliders import check, plan, prose, runtime, wheel, widgets
from live_sliders.check import Checker, NotComparable
from live_sliders.notebook import Cell

TOYCOST = Path(__file__).parent / "book" / "toycost"
SLIDER = """from ipywidgets import interact
@interact(k=(0, 4))
def show(k):
    print({})"""


def page(*sources: str, shows: str, k: int = 2, tags: tuple[str, ...] = ()) -> plan.Page:
    """A page whose last cell shows a slider `k` and, saved below it, the text `shows`."""
    cells = [Cell(i, source, {"tags": list(tags) if i == len(sources) - 1 else []}) for i, source in enumerate(sources)]
    output = {"output_type": "stream", "name": "stdout", "text": shows}
    warning = {"output_type": "stream", "name": "stderr", "text": "beware"}
    state: widgets.State = {
        "box": {"model_name": "VBoxModel", "state": {"children": ["IPY_MODEL_k", "IPY_MODEL_out"]}},
        "k": {"model_name": "IntSliderModel", "state": {"value": k, "min": 0, "max": 4, "description": "k"}},
        "out": {"model_name": "OutputModel", "state": {"outputs": [output, warning]}},
    }
    return plan.Page("page", cells, state, [plan.View(cells[-1], "box")])


@pytest.fixture
def checker(tmp_path: Path) -> Checker:
    """A checker for the small book."""
    (project,) = wheel.read_projects([TOYCOST], ["toycost/nn.py"])
    available = plan.Available(runtime.read_lock().modules, {"toycost": project.package}, frozenset(project.left_out()))
    return Checker(available, [project], tmp_path / "memory", 60)


def run(checker: Checker, page: plan.Page) -> None:
    """Check a page."""
    planned = plan.make_plan(page, checker.available)
    assert planned
    checker.check(page, planned)


HIDDEN = ["hours = []", "vars()['hours'] += [3, 4]", SLIDER.format("k * sum(hours)")]


def test_a_right_page_is_run_once_until_something_changes(checker: Checker, monkeypatch: pytest.MonkeyPatch) -> None:
    right = page("hours = []", "hours.extend([3, 4])", SLIDER.format("k * sum(hours)"), shows="14\n")
    run(checker, right)

    def again(*_: Any) -> Any:
        raise InterruptedError

    monkeypatch.setattr(Checker, "_run", again)
    run(checker, right)
    saved_otherwise = replace(right, state=page(*HIDDEN, shows="15\n").state)
    other_code = page("hours = []", "hours.extend([3, 5])", right.cells[-1].source, shows="14\n")
    for changed in (saved_otherwise, other_code, page(*HIDDEN, shows="14\n")):
        with pytest.raises(InterruptedError):
            run(checker, changed)
    (project,) = checker.projects
    for other in (replace(checker, projects=[replace(project, excludes=())]), replace(checker, memory=Path("none"))):
        with pytest.raises(InterruptedError):
            run(other, right)


def test_a_slice_that_keeps_too_little_stops_the_build_each_time(checker: Checker) -> None:
    for _ in range(2):
        with pytest.raises(plan.PageError) as error:
            run(checker, page(*HIDDEN, shows="14\n"))
        said = str(error.value)
        assert said.startswith("page: cell 3: the notebook shows '14', the page '0'. ")
        assert all(word in said for word in ("'live'", "'not-live'", "the slider's cell"))


def test_controls_stand_where_the_notebook_left_them(checker: Checker) -> None:
    run(checker, page(SLIDER.format("k"), shows="4\n", k=4))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 / (k - 2)", "page: cell 1 fails in the page's Python"),
        ("open('../job.json') and open('data.csv')", "No such file or directory: 'data.csv'"),
        ("__import__('torch')", "No module named 'torch' in the browser's Python"),
        ("__import__('toycost.nn')", "No module named 'toycost.nn'"),
        ("__import__('os')._exit(3)", "ended early"),
    ],
)
def test_what_fails_in_the_browser_stops_the_build(checker: Checker, source: str, message: str) -> None:
    with pytest.raises(plan.PageError) as error:
        run(checker, page(SLIDER.format(source), shows="?\n"))
    assert message in str(error.value)


def test_threads_and_connections_fail_as_in_the_browser(checker: Checker) -> None:
    source = (
        "import threading, socket\nsaid = []\ndef tried(act):\n    try:\n        act()\n"
        "    except Exception as error:\n        return str(error)\n"
    )
    shown = "tried(threading.Thread(target=print).start), tried(lambda: socket.create_connection(('127.0.0.1', 9)))"
    run(checker, page(source, SLIDER.format(shown), shows="can't start new thread no request leaves the page's site\n"))


def test_what_this_python_lacks_is_said_and_stops_nothing(checker: Checker) -> None:
    there = replace(checker.available, modules={**checker.available.modules, "elsewhere": "elsewhere"})
    with pytest.raises(NotComparable, match="'elsewhere' is not installed"):
        run(replace(checker, available=there), page("import elsewhere", SLIDER.format("elsewhere"), shows="x\n"))


def test_a_cell_that_differs_from_run_to_run_goes_unchecked(checker: Checker) -> None:
    run(checker, page(SLIDER.format("id(k)"), shows="1\n", tags=("live-unchecked",)))


def shown(**data: str) -> str:
    """What a reader sees of display data, its MIME types written with _."""
    bundle = {mime.replace("_", "/").replace("svg", "svg+xml"): text for mime, text in data.items()}
    return check.shown_text({"output_type": "display_data", "data": bundle})


def test_outputs_are_compared_as_readers_see_them() -> None:
    figure = "<Figure size 640x480 with 1 Axes>"
    assert (
        shown(image_png="AA", text_plain=figure) == shown(image_svg="<svg>", text_plain=figure) == f"a picture {figure}"
    )
    assert shown(text_plain=figure) != shown(text_plain=figure.replace("480", "240"))
    assert shown(image_png="AA", text_plain="<A>") == shown(image_png="BB", text_plain="<B>")
    html = '<svg aria-labelledby="{0}"><path id="{0}"/><use href="#{0}"/><g fill="url(#{0})" id="{0}-b"/></svg>'
    assert shown(text_html=html.format("a1")) == shown(text_html=html.format("f9", "x"))
    assert shown(text_html="<b>1</b>") != shown(text_html="<b>2</b>")
    assert shown(text_html='<i id="a">a</i>') != shown(text_html='<i id="a">b</i>')
    assert shown(text_plain="{1:\n 2}") == shown(text_plain="{1: 2}")
    assert shown(text_plain="<f at 0x7f0011223344>") == shown(text_plain="<f at 0x7f0011223355>")
    assert shown(text_html="<p>", text_plain="<IPython.HTML>") == shown(text_html="<p>", text_plain="<HTML>")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("x 0.30000000000000004", "x 0.3", True),
        ("x 0.3001", "x 0.3", False),
        ("1 of 2", "1 or 2", False),
        ("1 2", "1", False),
        ("0", "0.0", True),
        ("1e-12", "-1e-12", False),
    ],
)
def test_numbers_may_differ_in_their_last_digits(one: str, other: str, same: bool) -> None:
    assert check.same_text(one, other) is same


def test_a_difference_is_quoted_where_it_is() -> None:
    assert check.first_difference("a\nb\nc", "a\nx\nc") == ("b", "x")
    one, other = check.first_difference("." * 1000 + "1" + "." * 1000, "." * 1000 + "2" + "." * 1000)
    assert ("1" in one, "2" in other) == (True, True)
    assert len(one) == len(other) == check.LONGEST
    assert check.first_difference("a", "a\nb") == ("", "b")


def test_links_in_javascript_are_reported() -> None:
    linked = page(SLIDER.format("k"), shows="2\n")
    ends = {"source": ["IPY_MODEL_k", "value"], "target": ["IPY_MODEL_gone", "value"]}
    linked.state["link"] = {"model_name": "DirectionalLinkModel", "state": ends}
    ((kind, message),) = plan.problems(linked)
    assert kind == "link"
    assert message.startswith("cell 1: the page does not follow jsdlink between IntSlider 'k' and a widget, ")
    assert "ipywidgets.dlink" in message
    linked.state["link"]["state"] = {"source": ["IPY_MODEL_gone", "value"], "target": ["IPY_MODEL_off", "value"]}
    assert not list(plan.problems(linked))


def test_prose_takes_the_first_number_of_each_name() -> None:
    htmls = [
        'no <data class="lively">0</data>',
        '<p><data class="big live-a" value="1">1 &lt;\n <b>2</b></data><data class="live-b"></data></p>',
        '<data class="live-a">3</data><data class="live-b live-c">4<data class="live-d">5</data></data>',
    ]
    assert prose.named_numbers(htmls) == {"a": "1 < 2", "b": "", "c": "45", "d": "5"}
