"""Runs a page's cells with the real ipywidgets, and collects what the page must show.

Everything that one computation sends - new widgets, changed values, outputs - is gathered and handed over at its
end, so that the page changes all at once, or keeps its last good state where the computation failed.
"""

from __future__ import annotations

import ast
import gc
import io
import json
import linecache
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

from . import attempts
from . import shell as shell_module
from .figures import Figures

Event = dict[str, Any]


class Kernel:
    """One page's Python: a namespace, its widgets' comms, and the events of the current computation."""

    def __init__(self, figures: Figures) -> None:
        self.figures = figures
        self.shell = shell_module.Shell()
        self.areas: list[Any] = []  # the Output widgets entered; the last one takes what is shown
        self.events: list[Event] = []
        self.namespace: dict[str, Any] = {"__name__": "__main__", "display": self.display}
        self._cell: int | None = None
        self.stale: dict[Any, tuple[Any, ...]] | None = None  # interact's callbacks to run once all moves are made

    # -- what the page asks for ---------------------------------------------------------------------------------

    def run_cell(self, index: int, source: str) -> str:
        """Run a cell's source and report as JSON."""
        self._cell, self.figures.drawing = index, False
        return self._report(lambda: self.execute(f"<cell {index + 1}>", source, self.namespace))

    def deliver(self, moves: str, again: bool = False) -> str:
        """Apply the page's moves, given as JSON, and report. `again` recomputes although no value changed."""
        self._cell, self.figures.drawing = None, True

        def work() -> None:
            self.stale = {}
            for move in json.loads(moves):
                self._move(move, again)
            stale, self.stale = self.stale, None
            for view, arguments in stale.items():
                view.update(*arguments)

        return self._report(work)

    def attempt(self, code: str, check: str) -> str:
        """Run a reader's code and then its check among no other names, and report outputs and trouble as JSON."""
        self._cell, self.figures.drawing = None, True
        self.events, self.shell.error = [], None
        trouble = attempts.trouble(self, code, check)
        self.areas.clear()
        return json.dumps({"outputs": attempts.outputs(self.events), "trouble": trouble}, default=str)

    def settle(self) -> None:
        """Tell the garbage collector, once all cells have run, that what exists now stays."""
        gc.freeze()

    def _report(self, work: Callable[[], Any]) -> str:
        self.events, self.shell.error = [], None
        try:
            work()
        except BaseException:
            self.shell.showtraceback()
        finally:
            self.areas.clear()
            self.stale = None
        return json.dumps({"events": self.events, "error": self.shell.error}, default=str)

    # -- cells --------------------------------------------------------------------------------------------------

    def execute(self, name: str, source: str, namespace: dict[str, Any]) -> None:
        """Run as a notebook does: the value of a last expression is displayed, open figures are shown."""
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        tree = ast.parse(source, name)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, name, "exec"), namespace)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), name, "eval"), namespace)
            if value is not None and not source.rstrip().endswith(";"):
                self.display(value)
        self.show_figures()

    # -- moves --------------------------------------------------------------------------------------------------

    def _move(self, move: dict[str, Any], again: bool) -> None:
        """Apply one move: new values of a widget, or a click."""
        import comm

        set_width(move.get("width", 0))
        peer = comm.get_comm_manager().comms[move["id"]]
        state = move.get("state")
        data = (
            {"method": "custom", "content": {"event": "click"}}
            if state is None
            else {"method": "update", "state": state}
        )
        before = _snapshot(move["id"])
        peer.handle_msg({"content": {"data": data}, "buffers": [], "header": {}, "metadata": {}, "parent_header": {}})
        if again and state is not None and _snapshot(move["id"]) == before:
            _announce(move["id"])

    # -- display ------------------------------------------------------------------------------------------------

    def display(self, *values: Any, **_: Any) -> None:
        """Show values, as IPython's `display` does."""
        for value in values:
            data, metadata = (
                self.figures.render(value) if self.figures.is_figure(value) else shell_module.describe(value)
            )
            self.emit({"output_type": "display_data", "data": data, "metadata": metadata})

    def show_figures(self) -> None:
        """Show pyplot's open figures, as the notebook does after a cell or a callback."""
        pyplot: Any = sys.modules.get("matplotlib.pyplot")
        if pyplot:
            pyplot.show = lambda *_, **__: self.show_figures()  # pyplot wants a function
        for figure in self.figures.take_open():
            self.display(figure)

    def clear_output(self, wait: bool = False) -> None:
        """Clear the output as IPython does; with `wait` the old output stays until there is a new one."""
        if not self.areas:
            return
        self.areas[-1].live_clear = wait
        if not wait:
            self.areas[-1].outputs = ()

    def emit(self, output: dict[str, Any]) -> None:
        """Put an output where it belongs: into the Output widget entered last, or under the cell."""
        if not self.areas:
            self.events.append({"kind": "display", "cell": self._cell, "output": output})
            return
        area = self.areas[-1]
        earlier = () if area.live_clear else area.outputs
        area.live_clear = False
        area.outputs = _joined(earlier, output)


def _joined(outputs: tuple[dict[str, Any], ...], new: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return outputs with a new one; text of one stream runs on."""
    if outputs and new["output_type"] == "stream" and outputs[-1].get("name") == new["name"]:
        return (*outputs[:-1], {**new, "text": outputs[-1]["text"] + new["text"]})
    return (*outputs, new)


def _widget(model_id: str) -> Any:
    from ipywidgets.widgets.widget import _instances

    return _instances[model_id]


def _snapshot(model_id: str) -> Any:
    return getattr(_widget(model_id), "value", None)


def _announce(model_id: str) -> None:
    """Tell a widget's observers that its value is as it is, so that they compute again."""
    from traitlets import Bunch

    widget = _widget(model_id)
    widget.notify_change(Bunch(name="value", old=widget.value, new=widget.value, owner=widget, type="change"))


class Stream(io.TextIOBase):
    """Standard output or error, shown in the page."""

    def __init__(self, kernel: Kernel, name: str) -> None:
        self._kernel, self._name = kernel, name

    def write(self, text: str) -> int:
        """Emit the text."""
        if text:
            self._kernel.emit({"output_type": "stream", "name": self._name, "text": text})
        return len(text)


def set_width(pixels: int) -> None:
    """Tell figures how wide their place in the page is, in CSS pixels; 0, of a place not shown, tells nothing."""
    if pixels:
        os.environ["LIVE_WIDTH"] = str(pixels)


def start() -> Kernel:
    """Make the page's kernel: stand-ins first, then the real ipywidgets with comms that post to the page.

    Python's memory after this can be kept: nothing here belongs to one page.
    """
    global _kernel
    os.environ["MPLBACKEND"] = "Agg"
    warnings.simplefilter("ignore")  # a reader cannot act on them; the build shows them to the author
    _kernel = kernel = Kernel(Figures())
    shell_module.install(kernel.shell, kernel.display, kernel.clear_output)
    _install_comms(kernel)
    _install_widgets(kernel)
    return kernel


_kernel: Kernel | None = None


def open_page(figure: str, width: int) -> Kernel:
    """Return the kernel, started where it is not, set up for one page: how it draws figures, how wide they may be."""
    kernel = _kernel or start()
    kernel.figures = Figures(**json.loads(figure))
    sys.stdout = Stream(kernel, "stdout")
    set_width(width)
    return kernel


def _install_comms(kernel: Kernel) -> None:
    """Have each widget's comm append to the kernel's events what it would send to a notebook."""
    import comm
    from comm.base_comm import BaseComm, CommManager

    class PageComm(BaseComm):
        def publish_msg(self, msg_type: str, data: Any = None, *_: Any, **__: Any) -> None:
            if (event := _event(msg_type, self.comm_id, data or {})) is not None:
                kernel.events.append(event)

    manager = CommManager()
    comm.create_comm = PageComm
    comm.get_comm_manager = lambda: manager


def _event(kind: str, model_id: str, data: dict[str, Any]) -> Event | None:
    """Return what the page needs of a comm's message: new models and changed values; echoes say nothing new."""
    if kind == "comm_open":
        return {"kind": "open", "id": model_id, "state": data["state"]}
    if kind == "comm_msg" and data.get("method") == "update":
        return {"kind": "update", "id": model_id, "state": data["state"]}
    return None


def _install_widgets(kernel: Kernel) -> None:
    """Have Output widgets take what is shown inside them, and interact show figures and compute once for many moves."""
    from ipywidgets import Output
    from ipywidgets.widgets import interaction

    def enter(area: Any) -> Any:
        kernel.areas.append(area)
        return area

    def leave(area: Any, kind: Any, error: Any, trace: Any) -> bool:
        if error is not None:
            kernel.shell.showtraceback((kind, error, trace))
        if area.live_clear and error is None:
            kernel.areas[-1].outputs = ()
        area.live_clear = False
        kernel.areas.pop()
        return True

    Output.__enter__, Output.__exit__, Output.live_clear = enter, leave, False
    interaction.show_inline_matplotlib_plots = kernel.show_figures
    plain = interaction.interactive.update

    def update(view: Any, *arguments: Any) -> None:
        if kernel.stale is None:
            plain(view, *arguments)
        else:
            kernel.stale[view] = arguments

    interaction.interactive.update = update
