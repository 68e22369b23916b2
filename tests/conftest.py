"""What the tests share: the built book, served on loopback, and a browser to read it with."""

import fcntl
import gc
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from uuid import uuid4

import pytest
from built_outputs import kernel_of_the_build
from effort import FULL_EXAMPLES, is_full
from hypothesis import HealthCheck, settings
from jupyter_client.manager import KernelManager
from live_firefox import Firefox, firefox
from nbval.plugin import IPyNbCell, IPyNbFile
from playwright.sync_api import Browser, BrowserContext, sync_playwright

ROOT = Path(__file__).parents[1]
KEPT_OUTPUTS = ROOT / "_build" / ".jupyter_cache"
RUN = pytest.StashKey[str]()  # the name of a run of the tests, which its workers share
COMPARED = pytest.StashKey[bool]()  # whether nbval compares what the build's kernels give

# A busy machine is no failure.
patient = settings(max_examples=FULL_EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("all", patient)
settings.register_profile("course", patient, max_examples=FULL_EXAMPLES // 4)


def pytest_configure(config: pytest.Config) -> None:
    """Draw few examples unless the command line asks for more, as `make test-all` does."""
    settings.load_profile(config.getoption("--hypothesis-profile") or "course")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Spare the garbage collector what is collected here and lives until the end: all tests and what they import."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the file that builds the book and, for other workers meanwhile, with the longest that need no book.

    What nbval compares with the chapters' outputs is what that build gets.
    """
    items.sort(key=lambda item: (item.path.name != "test_built_html.py", item.path.parent.name != "live_sliders"))
    builds = any("site" in getattr(item, "fixturenames", ()) for item in items)
    notebooks = {item.parent for item in items if isinstance(item, IPyNbCell)} if builds and not is_full() else set()
    for notebook in notebooks:
        notebook.setup = partial(set_up_with_the_build, notebook)
        notebook.config.stash[COMPARED] = True


def set_up_with_the_build(notebook: IPyNbFile) -> None:
    """Let nbval compare with what the book's build got; where that failed, nbval runs the notebook and says why."""
    built = None if complaint_of_the_build(notebook.config) else kernel_of_the_build(KEPT_OUTPUTS, notebook.path)
    if built is None:
        IPyNbFile.setup(notebook)
        return
    notebook.kernel = built
    notebook.setup_sanitize_files()


# Jupyter's libraries leave encryption off, and then each kernel warns of it.
KernelManager.transport_encryption.default_value = "auto"


@dataclass(frozen=True)
class Site:
    """The built book: the folder that holds it, the address that serves it, and its pages' paths."""

    folder: Path
    url: str
    pages: list[str]


class QuietHandler(SimpleHTTPRequestHandler):
    """Serve files without a line of log for each."""

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on a free loopback port for as long as the context lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def local_runtime() -> dict[str, str]:
    """Where a folder with the browser's Python lies beside the project, take it; else the build looks online."""
    beside = ROOT.parent / "shared" / "live-runtime"
    given = os.environ.get("COSTLAB_LIVE_RUNTIME") or (str(beside) if beside.is_dir() else "")
    return {"COSTLAB_LIVE_RUNTIME": given} if given else {}


def toc_pages() -> list[str]:
    """Each page of the table of contents as the path that it is built to."""
    files = re.findall(r"^[\s-]*(?:root|file):\s*(\S+)", (ROOT / "_toc.yml").read_text(), re.MULTILINE)
    return [f"{file}.html" for file in files]


def chapters_with_sliders() -> list[Path]:
    """The notebooks in which some cell asks for a slider."""

    def has_slider(notebook: Path) -> bool:
        cells = json.loads(notebook.read_text())["cells"]
        return any("interact(" in "".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")

    return [path for path in sorted((ROOT / "book").glob("*.ipynb")) if has_slider(path)]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Let torch, where a test has loaded it, use one thread: for small shapes a second one only waits."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[[Path], str]]:
    """Give a function that serves a folder until the session ends and returns its address."""
    with ExitStack() as stack:
        yield lambda folder: stack.enter_context(served(folder))


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest, serve: Callable[[Path], str]) -> Site:
    """Build the book as `make book` does, once for all workers, and serve it."""
    folder = ROOT / "_build" / "html"
    complaint = complaint_of_the_build(request.config)
    if complaint:
        pytest.fail(complaint, pytrace=False)
    return Site(folder, serve(folder), [*toc_pages(), "search.html"])


def complaint_of_the_build(config: pytest.Config) -> str:
    """Build the book once in a run of the tests, by whoever comes first; return what went wrong, or nothing.

    Where nbval compares outputs, each notebook runs anew: no cache knows all that an output depends on.
    """
    run = config.stash.setdefault(RUN, getattr(config, "workerinput", {}).get("testrunuid") or uuid4().hex)
    with one_at_a_time(ROOT / "_build" / ".tested") as last_run:
        known, _, complaint = last_run.read_text().partition("\n")
        if known != run:
            if config.stash.get(COMPARED, False):
                shutil.rmtree(KEPT_OUTPUTS, ignore_errors=True)
                shutil.rmtree(KEPT_OUTPUTS.with_name(".doctrees"), ignore_errors=True)
            complaint = make_book()
            last_run.write_text(f"{run}\n{complaint}")
    return complaint


@contextmanager
def one_at_a_time(path: Path) -> Iterator[Path]:
    """Hold a file, made if need be, that no other process holds meanwhile."""
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield path


def make_book() -> str:
    """Run `make book` (seconds when nothing changed); return what went wrong, or nothing."""
    done = subprocess.run(
        ["make", "--no-print-directory", "book", f"PYTHON={sys.executable}"],
        cwd=ROOT,
        env=os.environ | local_runtime(),
        capture_output=True,
        text=True,
    )
    return f"make book failed:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}" if done.returncode else ""


# Refused by the browser itself: a request that Playwright may refuse costs each page its cache.
NO_OTHER_HOST = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start the system's Chromium, for which no other host exists.

    Its event loop must end with the module: what runs notebooks brings its own.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", NO_OTHER_HOST])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def visitor(browser: Browser) -> Iterator[BrowserContext]:
    """Someone whose browser keeps, from page to page, what sites store in it: Python then starts in half the time."""
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture(scope="session")
def fox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    """Start the system's Firefox, with a profile of its own."""
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        pytest.skip("no Firefox on this machine (Debian: apt-get install firefox-esr)")
    with firefox(program, tmp_path_factory.mktemp("profile")) as started:
        yield started
