"""Fusion of a captured graph: patterns of operators replaced by fused ones, each checked by numbers first.

`ops` holds the fused operators, `pattern` says what a pattern is, `patterns` and `attending` hold those of models,
`wrong` replacements that match and are wrong. `checking` judges by numbers, `cleaning` goes before, `rewriting` changes
the graph and counts, `story` tells it as plain data to be drawn.
"""

from costlab.nn.chips.fusion.checking import INPUT_KINDS, InputKind, Judgement, Trial, check_pattern
from costlab.nn.chips.fusion.cleaning import CLEANED, clean_graph
from costlab.nn.chips.fusion.pattern import FusionPattern
from costlab.nn.chips.fusion.patterns import PATTERNS
from costlab.nn.chips.fusion.rewriting import Fused, Fusion, FusionStage, fuse
from costlab.nn.chips.fusion.story import fusion_story
from costlab.nn.chips.fusion.wrong import WRONG

__all__ = [
    "CLEANED", "INPUT_KINDS", "PATTERNS", "WRONG", "Fused", "Fusion", "FusionPattern", "FusionStage", "InputKind",
    "Judgement", "Trial", "check_pattern", "clean_graph", "fuse", "fusion_story",
]  # fmt: skip
