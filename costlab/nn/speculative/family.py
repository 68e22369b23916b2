"""The shipped models: a target of eight layers, its MTP modules, and a draft of one layer.

Trained by `python -m costlab.nn.speculative.train`; weights are kept as float16, and what is loaded is what was kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from costlab.nn.experiments.training import load_weights
from costlab.nn.speculative.model import MTP, ByteModel, ByteSize

FAMILY_WEIGHTS = Path(__file__).parent / "weights"
TARGET_SIZE = ByteSize(layers=8, hidden=96, heads=4, inner=256)
DRAFT_SIZE = ByteSize(layers=1, hidden=128, heads=4, inner=320)
MTP_DEPTH = 3  # MTP modules that were trained


@dataclass(frozen=True)
class Family:
    """Models that read the same bytes."""

    target: ByteModel  # whose law the text follows
    draft: ByteModel  # a smaller one that guesses ahead
    mtp: MTP  # modules on the target that guess ahead


def load_family(folder: Path = FAMILY_WEIGHTS) -> Family:
    """Return the trained models, in float32, set to answer rather than to train.

    Args:
        folder: of target.npz, draft.npz and mtp.npz.

    Raises:
        FileNotFoundError: a file that is missing.
    """
    target, draft = ByteModel(TARGET_SIZE), ByteModel(DRAFT_SIZE)
    family = Family(target, draft, MTP(target, MTP_DEPTH))
    for name, module in (("target", target), ("draft", draft), ("mtp", family.mtp)):
        load_weights(folder / f"{name}.npz", {name: module})
    return family
