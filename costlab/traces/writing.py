"""Requests written as a trace, whole or not at all.

Chapter: cache
"""

from __future__ import annotations

import gzip
import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from costlab.traces.requests import Request


def write(requests: Iterable[Request], path: str | os.PathLike[str], block_tokens: int = 512) -> int:
    """Write requests as Mooncake JSON lines and return how many; the file appears whole or not at all.

    Args:
        requests: in order of time, each with the ids of all its blocks; sessions have no place in the format.
        path: of the file; `.gz` at its end packs it.
        block_tokens: tokens of one block; the format's own are 512.

    Raises:
        ValueError: a request without its block ids, or before the one ahead of it.
        OSError: the folder cannot be written to, or is full.
    """
    count, before = 0, -math.inf
    with replacing(Path(path)) as out:
        for count, request in enumerate(requests, 1):
            distinct = len(set(request.blocks)) == len(request.blocks) == -(-request.input_tokens // block_tokens)
            if not distinct or request.time_s < before:
                raise ValueError(
                    f"request {count}: {request.input_tokens} tokens with {len(set(request.blocks))} blocks of "
                    f"{block_tokens} at {request.time_s} s after {before} s does not make a Mooncake row"
                )
            before = request.time_s
            out.write(_mooncake_row(request))
    return count


def _mooncake_row(request: Request) -> bytes:
    milliseconds = round(request.time_s * 1e3, 6)
    row = {
        "timestamp": int(milliseconds) if milliseconds.is_integer() else milliseconds,
        "input_length": request.input_tokens,
        "output_length": request.output_tokens,
        "hash_ids": list(request.blocks),
    }
    return json.dumps(row).encode() + b"\n"


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Give a file that takes the place of `path` once all is written, and vanishes if anything fails.

    Args:
        path: of the file; one that ends in .gz is packed.

    Raises:
        OSError: the folder cannot be written to.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as packed:
                    yield packed  # type: ignore[misc]
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
        os.chmod(name, 0o666 & ~_umask())  # mkstemp's 0600 would shut out whom the folder lets in
        os.replace(name, path)
    except BaseException:  # Ctrl-C too: no half-written file stays behind
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
