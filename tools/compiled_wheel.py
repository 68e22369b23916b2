"""Build costlab with the simulator's inner loop compiled, which pyproject.toml names: a wheel to install elsewhere.

python tools/compiled_wheel.py FOLDER [--unpack]

It is built from what a release contains, in a folder of its own: what is compiled beside the sources would hide their
next change. A C compiler is needed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: No product is fused with a sum, so that results are those of the plain files to the last digit.
SETTINGS = {"HATCH_BUILD_HOOK_ENABLE_MYPYC": "true", "CFLAGS": "-ffp-contract=off"}


def main() -> None:
    """Build the wheel, and unpack it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the wheel comes to lie")
    parser.add_argument("--unpack", action="store_true", help="unpack it there too, ready for PYTHONPATH")
    args = parser.parse_args()
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(args.folder), str(ROOT)]
    built = subprocess.run(command, env={**os.environ, **SETTINGS}, capture_output=True, text=True)
    if built.returncode:
        sys.exit(f"{built.stdout}{built.stderr}\nThe wheel was not built: is there a C compiler?")
    wheel = max(args.folder.glob("costlab-*-cp*.whl"), key=os.path.getmtime)
    print(wheel)
    if args.unpack:
        with zipfile.ZipFile(wheel) as files:
            files.extractall(args.folder)


if __name__ == "__main__":
    main()
