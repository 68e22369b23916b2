"""Running mixtures of experts: the layer (`layer`), and the same over several processes (`parallel`).

Chapter: moe
"""

from costlab.nn.moe.layer import SCORES, Choice, Experts, Gate, MoELayer, Multiply, SwiGLU, limit_groups, swiglu, top_k

__all__ = ["SCORES", "Choice", "Experts", "Gate", "MoELayer", "Multiply", "SwiGLU", "limit_groups", "swiglu", "top_k"]
