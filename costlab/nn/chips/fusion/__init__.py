"""Fusion of a captured graph: patterns of operators replaced by fused ones, each checked by numbers first.

`ops` holds the fused operators, `patterns` what they stand for, `wrong` replacements that match and are wrong,
`checking` the judgement by numbers, `cleaning` what goes before, `rewriting` the graph itself, `story` the same as plain
data to be drawn.
"""

from costlab.nn.chips.fusion.checking import KINDS, InputKind, Trial, Verdict, check_pattern
from costlab.nn.chips.fusion.cleaning import CLEANED, clean_graph
from costlab.nn.chips.fusion.patterns import PATTERNS, Pattern
from costlab.nn.chips.fusion.rewriting import Fused, Fusion, Stage, fuse
from costlab.nn.chips.fusion.story import fusion_story
from costlab.nn.chips.fusion.wrong import WRONG

__all__ = [
    "CLEANED", "KINDS", "PATTERNS", "WRONG", "Fused", "Fusion", "InputKind", "Pattern", "Stage", "Trial", "Verdict",
    "check_pattern", "clean_graph", "fuse", "fusion_story",
]  # fmt: skip
