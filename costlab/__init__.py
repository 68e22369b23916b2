"""costlab: what a token costs, computed from the model, the chip and the workload.

A token's price is a second of hardware divided by the tokens it yields. The rooms of this package each
answer one part of that sentence; a room imports only from rooms below it::

    cli  explore                 ask from the shell, turn a slider
    prices                       money
    roofline                     seconds of a chip
    arch                         parameters, bytes and FLOPs of a model
    catalog                      sourced facts, nothing else
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("costlab")
except PackageNotFoundError:  # a source tree on the path, not installed
    __version__ = "0+source"
