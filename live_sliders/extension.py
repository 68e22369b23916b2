"""The Sphinx side: when the builder asks, find widgets and exercises, plan the page, write what the browser needs."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from html import escape
from pathlib import Path
from shutil import copytree
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

from . import __version__, csp, exercise_nodes, fallback, runtime, wheel
from .check import Checker, NotComparable
from .exercises import ExerciseError, read_exercises
from .notebook import read_cells
from .plan import Available, Page, PageError, Plan, View, make_plan, problems
from .prose import LiveNumbers, live_role, saved_state
from .widgets import State

logger = logging.getLogger(__name__)

STATE_TYPE = "application/vnd.jupyter.widget-state+json"
VIEW_TAG = '<script type="application/vnd.jupyter.widget-view+json">'
WEB = Path(__file__).with_name("web")
FOLDER = "_static/live_sliders"
STATIC_NOTE = "Saved figure: it shows the values it was computed with when this page was built."


def setup(app: Sphinx) -> dict[str, Any]:
    """Register options, the transform that replaces widgets, and the events around a build."""
    app.add_config_value("live_wheels", [], "env", list)
    app.add_config_value("live_wheel_excludes", [], "env", list)
    app.add_config_value("live_cache", "_build/live-cache", "", str)
    app.add_config_value("live_csp", True, "html", bool)
    app.add_config_value("live_run_hint", "", "html", str)
    app.add_config_value("live_stop_after_s", 10, "env", (int, float))
    app.add_config_value("live_check", True, "html", bool)
    app.add_post_transform(LiveViews)
    app.add_post_transform(exercise_nodes.Exercises)
    app.add_role("live", live_role)
    app.add_transform(LiveNumbers)
    _keep_execution_from_stalling(app)
    app.connect("builder-inited", prepare)
    app.connect("html-page-context", finish_page, priority=900)
    app.connect("build-finished", finish_site)
    return {"version": __version__, "parallel_read_safe": True, "parallel_write_safe": True}


def _keep_execution_from_stalling(app: Sphinx) -> None:
    """Stop nbclient's Output widgets, while this build lasts, from reporting what they show back to the kernel.

    They report on the very socket where nbclient waits for the kernel's answer, which it then may miss: now and then
    a notebook with sliders stands still until the execution timeout. Callbacks do not depend on the report.
    Neither myst-nb nor jupyter-cache lets a book choose its own class of widget, so the class itself is changed.
    """
    from nbclient.output_widget import OutputWidget

    def set_send(send: Callable[..., None]) -> None:
        setattr(OutputWidget, "send", send)  # noqa: B010 - mypy forbids assigning a method

    plain = OutputWidget.send
    app.connect("env-before-read-docs", lambda *_: set_send(lambda *_, **__: None))
    app.connect("build-finished", lambda *_: set_send(plain))


# -- before the build: the runtime and the course's wheels ------------------------------------------------------


def prepare(app: Sphinx) -> None:
    """Put the page's scripts, the runtime and the wheels into the output folder."""
    app.live_places = None  # type: ignore[attr-defined]
    app.live_available = Available({})  # type: ignore[attr-defined]
    app.live_checker = None  # type: ignore[attr-defined]
    if app.builder.format != "html":
        return
    target = Path(app.outdir, FOLDER)
    copytree(WEB, target, dirs_exist_ok=True)
    # a module, not a file to fetch: whoever imports it waits for no further answer before the widgets appear
    allowed = WEB.joinpath("allowed.json").read_text(encoding="utf-8")
    target.joinpath("allowed.mjs").write_text(f"export default {allowed.strip()};\n", encoding="utf-8")
    projects = _read_projects(app)
    lock = runtime.read_lock()
    app.live_available = Available(  # type: ignore[attr-defined]
        lock.modules,
        {project.package.name: project.package for project in projects},
        frozenset(path for project in projects for path in project.left_out()),
    )
    if app.config.live_check:
        app.live_checker = _checker(app, projects)  # type: ignore[attr-defined]
    runtime_place = _assemble(app, lock, target)
    if runtime_place:
        wheels = [_write_wheel(project, target) for project in projects]
        cache = Path(app.confdir, app.config.live_cache)
        memory = runtime.write_memory(target / runtime_place, target, cache)
        app.live_places = {  # type: ignore[attr-defined]
            "runtime": runtime_place,
            "memory": memory.name if memory else "",
            "memory_key": runtime.memory_key(target / runtime_place, target),
            "wheels": wheels,
        }


def _checker(app: Sphinx, projects: list[wheel.Project]) -> Checker:
    """Return what compares pages with the slices that they run; a page may take as long as its notebook may."""
    timeout_s = getattr(app.config, "nb_execution_timeout", -1)
    memory = Path(app.confdir, app.config.live_cache, "checked")
    available: Available = app.live_available  # type: ignore[attr-defined]
    return Checker(available, projects, memory, timeout_s if timeout_s > 0 else None)


def _read_projects(app: Sphinx) -> list[wheel.Project]:
    folders = [Path(app.confdir, folder) for folder in app.config.live_wheels]
    try:
        return wheel.read_projects(folders, app.config.live_wheel_excludes)
    except (ValueError, FileNotFoundError) as error:
        raise ExtensionError(f"live_sliders: {error}") from error


def _assemble(app: Sphinx, lock: runtime.Lock, target: Path) -> str:
    """Assemble the runtime; return its place beside the scripts, or "" where no file of it can be had."""
    place = f"pyodide-{lock.pyodide}-{lock.digest}"
    try:
        source = runtime.source_from_environment(Path(app.confdir, app.config.live_cache))
        runtime.assemble(lock, source, target / place)
    except runtime.RuntimeMissing as missing:
        # Plain text and not a Sphinx warning: a book built offline is complete, so `-W` must not fail it.
        print(f"live_sliders: no Python for the browser ({missing}); the book shows static figures", file=sys.stderr)
        return ""
    except (runtime.HashMismatch, FileNotFoundError) as error:
        raise ExtensionError(f"live_sliders: {error}") from error
    return place + "/"


def _write_wheel(project: wheel.Project, target: Path) -> str:
    """Write a wheel under an address that changes with its content; return the address."""
    data = wheel.build_wheel(project)
    place = f"wheels/{hashlib.sha256(data).hexdigest()[:8]}/{project.file_name}"
    path = target / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return place


# -- each page: widgets become static views, and a plan where they can be live ----------------------------------


class LiveViews(SphinxPostTransform):
    """Replaces each widget view by its static view, and adds the page's plan."""

    default_priority = 5  # right after myst-nb has chosen one of each output's forms
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        """Transform one page."""
        shown = [(node, _model_id(node)) for node in self.document.findall(nodes.raw) if VIEW_TAG in node.astext()]
        state = saved_state(self.app, self.env.docname)
        found = [(node, model_id) for node, model_id in shown if model_id in state]
        if not found and not exercise_nodes.found(self.document):
            return  # a notebook whose execution failed has no state; myst-nb has said so
        page = _read_page(self.app, self.env.docname, state, found)
        _warn(page, self.document)
        plan = self._plan(page)
        live = {view["model"] for view in plan.views} if plan else set()
        for (node, model_id), view in zip(found, page.views, strict=True):
            node.replace_self(_static_node(page, view, model_id in live))
        if plan:
            self.document.append(_plan_node(plan, self.app))

    def _plan(self, page: Page) -> Plan | None:
        try:
            plan = make_plan(page, self.app.live_available)  # type: ignore[attr-defined]
            if plan and self.app.live_checker:  # type: ignore[attr-defined]
                self.app.live_checker.check(page, plan)  # type: ignore[attr-defined]
        except PageError as error:
            raise ExtensionError(f"live_sliders: {error}") from error
        except NotComparable as reason:
            message = "live slider, its result was not compared with the notebook's: %s"
            logger.warning(message, reason, location=page.name, type="live_sliders", subtype="check")
        return plan if self.app.live_places else None  # type: ignore[attr-defined]


def _model_id(node: nodes.raw) -> str:
    text = node.astext().removeprefix(VIEW_TAG).removesuffix("</script>")
    return str(json.loads(text)["model_id"])


def _read_page(app: Sphinx, docname: str, state: State, found: list[tuple[nodes.raw, str]]) -> Page:
    """Bring together the page's source, its saved widget state, the views in its outputs and its exercises."""
    path = Path(app.env.doc2path(docname))
    cells = read_cells(path)
    by_index = {cell.index: cell for cell in cells}
    views = [View(by_index[_cell_index(node)], model_id) for node, model_id in found]
    try:
        exercises = read_exercises(cells)
    except ExerciseError as error:
        raise ExtensionError(f"live_sliders: {docname}: {error}") from error
    return Page(docname, cells, state, views, exercises)


def _cell_index(node: nodes.Node) -> int:
    """Return the index of the notebook cell whose output a node is."""
    parent = node.parent
    while parent.get("nb_element") != "cell_code":
        parent = parent.parent
    return int(parent["cell_index"])


def _warn(page: Page, document: nodes.document) -> None:
    for kind, message in problems(page):
        logger.warning("live slider, %s", message, location=page.name, type="live_sliders", subtype=kind)


def _static_node(page: Page, view: View, live: bool) -> nodes.raw:
    inner = fallback.static_view(page.state, view.model_id, view.cell.alt)
    mark = f' data-live-view="{escape(view.model_id)}"' if live else ""
    html = f'<div class="live"{mark}>{inner}<p class="live-note">{STATIC_NOTE}</p></div>'
    return nodes.raw("", html, format="html")


def _plan_node(plan: Plan, app: Sphinx) -> nodes.raw:
    text = plan.to_json(**app.live_places, stop_after_s=app.config.live_stop_after_s)  # type: ignore[attr-defined]
    return nodes.raw("", f'<script type="application/json" id="live-plan">{text}</script>', format="html")


# -- each page's frame, and the finished site -------------------------------------------------------------------


def finish_page(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: nodes.document) -> None:
    """Drop what the widgets' own scripts would need, add ours, and the offer to run the notebook at home."""
    body = context.get("body", "")
    if 'class="live"' in body or exercise_nodes.CLASS in body:
        app.add_css_file("live_sliders/live.css")
        _drop_widget_scripts(context)
    if 'id="live-plan"' in body:
        app.add_js_file("live_sliders/page.mjs", type="module")
    if doctree is not None and _is_notebook(app, pagename):
        context["body"] = body + _run_hint(app, context)


def _drop_widget_scripts(context: dict[str, Any]) -> None:
    """Drop the widget manager, which comes from third parties, and the saved state, which is in the page already."""
    files = context["script_files"]
    files[:] = [file for file in files if not _is_widget_script(file)]


def _is_widget_script(file: Any) -> bool:
    name = str(getattr(file, "filename", "") or "")
    return getattr(file, "attributes", {}).get("type") == STATE_TYPE or "html-manager" in name or "require.js" in name


def _is_notebook(app: Sphinx, pagename: str) -> bool:
    return "kernelspec" in app.env.metadata.get(pagename, {})


def _run_hint(app: Sphinx, context: dict[str, Any]) -> str:
    """Return a line that says where to get the notebook, and how to run it at home."""
    name = context.get("sourcename", "")
    if not (app.config.live_run_hint and name):
        return ""
    address = context["pathto"](f"_sources/{name}", True)
    return (
        '<aside class="live-run" aria-label="Run this page yourself">'
        f'<a href="{escape(address)}" download>Download this page as a notebook</a>'
        f"<p>Run it yourself: <code>{escape(app.config.live_run_hint)}</code></p></aside>"
    )


def finish_site(app: Sphinx, error: Exception | None) -> None:
    """Write the security policy into every page."""
    if error is None and app.builder.format == "html" and app.config.live_csp:
        csp.protect(Path(app.outdir))
