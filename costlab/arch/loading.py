"""Models by name: those of the catalog, and those that a config.json describes."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from costlab import catalog
from costlab.arch import configs
from costlab.arch.model import Model, build


def load(model: str | Model) -> Model:
    """Return a model, e.g. `load("deepseek-v4-pro")`; a model is returned as it is.

    Args:
        model: a key of the catalog, or the path of a config.json or of a folder that holds one, or "-" for standard
            input. A key wins over a file of its name, which `./NAME` means.

    Raises:
        ValueError: an unknown key, with the known ones; a file that cannot be read or understood.
    """
    if isinstance(model, Model):
        return model
    if model.lower() not in catalog.tables().models and configs.is_file(model):
        return configs.imported(model).model
    return _load(model.lower())


@functools.cache
def _load(key: str) -> Model:
    return build(key, catalog.model(key), catalog.place_of(key))


def models() -> Mapping[str, Model]:
    """Return every model of the catalog by key."""
    return {key: load(key) for key in catalog.tables().models}
