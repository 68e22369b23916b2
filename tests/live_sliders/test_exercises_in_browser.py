"""An exercise in a built page, as a reader does it: predict, write, run, stop, set back, come again."""

from __future__ import annotations

from collections.abc import Callable

from live_book import Built
from live_drive import Visit, visit
from playwright.sync_api import Browser, Locator

COST = "#exercise-what-do-three-cost"
RIGHT = "from toycost import price_per_token\n\ndef cost(tokens):\n    return tokens * 100 * price_per_token(36, 1)\n"
ANSWERED = """([host, number]) => Number(document.querySelector(host).dataset.liveAnswered ?? 0) >= number"""
SERIOUS = ("serious", "critical")
AXE = {"resultTypes": ["violations"], "preload": False}  # it would fetch imported styles, from wrong addresses


class Reader:
    """Someone who does the exercise of one open page."""

    def __init__(self, opened: Visit) -> None:
        self.opened, self.page = opened, opened.page
        self.host = opened.page.locator(COST)
        self.code = self.host.get_by_role("textbox", name="Your code")
        self.result = self.host.get_by_role("status")

    def button(self, name: str) -> Locator:
        """A button of the exercise, by its name's beginning."""
        return self.host.get_by_role("button", name=name)

    def run(self, code: str) -> str:
        """Put code into the field, run it by keyboard, and return what the page says of it."""
        self.code.fill(code)
        return self.answer_to(lambda: self.code.press("Control+Enter"))

    def answer_to(self, act: Callable[[], None]) -> str:
        """Do something that begins an attempt, and return what the page says once it has ended."""
        before = int(self.host.get_attribute("data-live-attempt") or 0)
        act()
        self.page.wait_for_function(ANSWERED, arg=[COST, before + 1])
        return self.result.inner_text()

    def status(self) -> str:
        """What the exercise's attribute says."""
        return self.host.get_attribute("data-live-status") or ""


def test_a_reader_does_an_exercise(browser: Browser, site: str) -> None:
    with visit(browser, site, viewport={"width": 390, "height": 800}, bypass_csp=True) as opened:
        opened.open("exercise.html")
        reader = Reader(opened)
        assert "..." in reader.code.input_value()
        assert "price_per_token(36, 1)" not in reader.host.inner_text()

        reader.button("Run").click()  # without a prediction nothing runs, and the reader is led to it
        assert reader.status() == "unpredicted"
        guess = reader.host.get_by_label("Your prediction, in cents")
        assert guess.evaluate("(field) => field === document.activeElement")
        guess.fill("5")

        said = reader.answer_to(reader.button("Run").click)
        assert (reader.status(), guess.is_disabled()) == ("wrong", True)
        assert "You predicted: 5 cents." in said
        assert "cost(3) is None, it should be 3.0" in said

        said = reader.run(RIGHT + "print('here')")
        assert reader.status() == "passed", said
        assert "here\ncost(3) is 3.0" in said

        assert_errors_are_told(reader)
        assert_a_loop_can_be_stopped(reader)
        assert_keys_edit(reader)
        assert_accessible(reader)
        assert_set_back_and_kept(reader)
        opened.assert_clean()


def assert_errors_are_told(reader: Reader) -> None:
    """The line of the reader's code, in the check's run or before it, of Python's grammar too."""
    said = reader.run("def cost(tokens):\n    return tokens / 0")
    assert reader.status() == "error"
    assert "ZeroDivisionError" in said and "Line 2 return tokens / 0" in said.replace("\n", " ")
    reader.button("Go to line 2").click()
    assert reader.code.evaluate("(field) => field.value.slice(field.selectionStart, field.selectionEnd)").strip() == (
        "return tokens / 0"
    )
    assert "Line 1" in reader.run("def cost(tokens:\n    pass") and reader.status() == "error"
    assert "NameError" in reader.run("price_per_token")  # what an earlier run imported is gone
    reader.run("raise NotImplementedError")
    assert reader.status() == "unanswered"


def assert_a_loop_can_be_stopped(reader: Reader) -> None:
    """Stopping ends Python; the next run starts it again."""
    reader.code.fill("while True:\n    pass")
    reader.button("Run").click()
    reader.page.wait_for_function(f"() => document.querySelector('{COST}').dataset.liveStatus === 'running'")
    reader.button("Stop").click()
    assert reader.status() == "stopped"
    assert reader.run(RIGHT) and reader.status() == "passed"


def assert_keys_edit(reader: Reader) -> None:
    """Enter keeps the indentation, Tab indents and takes back, Escape before it leaves the field."""
    reader.code.fill("def f():")
    reader.code.press("End")
    for key in ("Enter", "1", "Enter", "Tab", "2", "Shift+Tab", "Shift+Tab"):
        reader.code.press(key)
    assert reader.code.input_value() == "def f():\n    1\n2"
    reader.code.press("Escape")
    reader.code.press("Tab")
    assert not reader.code.evaluate("(field) => field === document.activeElement")


def assert_accessible(reader: Reader) -> None:
    """In both schemes, with an error and its fold shown, and nothing wider than a phone."""
    from axe_playwright_python.sync_playwright import Axe

    reader.run("1 / 0")
    reader.host.get_by_text("What Python said").click()
    for scheme in ("light", "dark"):
        reader.page.emulate_media(color_scheme=scheme)
        reader.page.wait_for_function(f"() => document.documentElement.dataset.theme === '{scheme}'")
        for context in (".live-exercise", ".live-answer"):
            found = Axe().run(reader.page, context=context, options=AXE).response
            assert not [(v["id"], v["nodes"][0]["html"]) for v in found["violations"] if v["impact"] in SERIOUS]
    assert reader.page.evaluate("document.documentElement.scrollWidth") <= 390


def assert_set_back_and_kept(reader: Reader) -> None:
    """What was written and predicted outlasts a reload; Reset takes both away, and can be taken back."""
    reader.code.fill(RIGHT)
    reader.page.reload()
    assert reader.code.input_value() == RIGHT
    guess = reader.host.get_by_label("Your prediction, in cents")
    assert (guess.input_value(), guess.is_disabled()) == ("5", True)
    reader.button("Reset").click()
    assert "..." in reader.code.input_value()
    assert (guess.input_value(), guess.is_disabled()) == ("", False)
    reader.button("Undo reset").click()
    assert (reader.code.input_value(), guess.input_value()) == (RIGHT, "5")


def test_without_scripts_there_is_a_starter_and_a_folded_answer(browser: Browser, site: str, built: Built) -> None:
    for address in (site, f"{built.site.as_uri()}/"):
        with visit(browser, address, java_script_enabled=address != site) as opened:
            opened.page.goto(f"{address}exercise.html")
            assert "..." in opened.page.inner_text(f"{COST} .live-starter")
            assert "cost(3) == 3" in opened.page.inner_text(f"{COST} .live-check")
            answer = opened.page.locator(".live-answer").first
            assert not answer.locator("pre").first.is_visible()
            answer.locator("summary").click()
            assert "price_per_token(36, 1)" in answer.inner_text()
            assert "cost(3) is 3.0" in answer.inner_text()
            assert "Follow-up" in answer.inner_text()
