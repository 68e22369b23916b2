"""costlab: what a token costs, computed from the model, the chip and the workload.

A token's price is a second of hardware divided by the tokens it yields. The rooms of this package each
answer one part of that sentence; a room imports only from rooms below it::

    cli  explore                                        ask from the shell (a file a subject), turn a slider
    claims  levers  limits  prompts                     claims settled; all levers together; floors; one's own prompts
    prices  serving                                     money; requests, queues and pools, simulated and planned
    moe  attention  hybrid  cache  speculative  chips   the levers; none imports another
    nn                                                  the same parts as running torch modules, by the same names
    roofline  traces  sweep                             seconds of a chip; what traffic looks like; many runs at once
    arch                                                a model's layers: parameters, bytes, FLOPs
    catalog  checks  text  arrays  lab                  sourced facts; one way to refuse, print, check an answer; types
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("costlab")
except PackageNotFoundError:  # a source tree on the path, not installed
    __version__ = "0+source"
