"""The serving simulator beside NVIDIA's replay: the same requests, layout, step times and memory, request by request.

    python benchmarks/serving.py [--quick] [--json FILE]

Every request's time to first token must be equal, or the run stops. NVIDIA's time is what its Rust core says of itself,
without reading the trace; ours is the whole call.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peers import peer

os.environ["DYN_LOG"] = "off"  # its log of every step is longer than the run
replay = peer("dynamo.replay")

MS = 1e3
