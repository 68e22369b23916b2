"""The browser's Python, run by Node: its NumPy counts in 32 bits and lacks `numpy.typing`, and must say the same."""

import json
import shutil
import subprocess

import browser_numbers
import pytest
from live_book import REPOSITORY, runtime_folder

LOAD = """
const [runtime, root] = process.argv.slice(1)
const { loadPyodide } = await import(`file://${runtime}/pyodide.mjs`)
const python = await loadPyodide({ indexURL: `${runtime}/`, env: { HOME: "/tmp", PYTHONDONTWRITEBYTECODE: "1" } })
await python.loadPackage("numpy", { messageCallback: () => {} })
python.FS.mkdir("/course")
python.FS.mount(python.FS.filesystems.NODEFS, { root }, "/course")
const numbers = python.runPython(`
import json, sys
sys.path[:0] = ["/course", "/course/tests"]
import browser_numbers
json.dumps(browser_numbers.numbers())`)
console.log(numbers)
"""


@pytest.fixture(scope="module")
def there():
    """What the browser's Python finds."""
    runtime = runtime_folder()
    if runtime is None or not (runtime / "pyodide.mjs").is_file() or shutil.which("node") is None:
        pytest.skip("no browser's Python beside the project, or no Node.js to run it")
    command = ["node", "--input-type=module", "-e", LOAD, "--", str(runtime.resolve()), str(REPOSITORY)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return json.loads(done.stdout)


def test_it_counts_in_32_bits(there):
    assert there["bits of a count"] == 32
    assert browser_numbers.numbers()["bits of a count"] == 64


@pytest.mark.parametrize("name", [name for name in browser_numbers.NUMBERS if name != "bits of a count"])
def test_it_finds_the_same(name, there):
    here = json.loads(json.dumps(browser_numbers.NUMBERS[name]()))
    assert there[name] == pytest.approx(here, rel=1e-12)


def test_no_module_fails_to_load(there):
    assert there["modules"] > 40
