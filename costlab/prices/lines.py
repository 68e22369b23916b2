"""Lines of products: which of a maker's products followed which, so that a comparison takes the one of its day.

Chapter: prices
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from costlab.prices.names import products


@dataclass(frozen=True)
class ProductLine:
    """Products of one maker and one class that followed one another."""

    maker: str  # company, as figures name it
    products: tuple[str, ...]  # in the order in which they came
    small: bool = False  # whether they are the maker's small models, not its largest of text

    def newest(self, when: str | date | datetime) -> str | None:
        """Return the newest of them that was sold at a moment, see `moment`; None where none was."""
        sold = products(when=when)
        return next((name for name in reversed(self.products) if name in sold), None)


#: The makers whose lists the course and the shell compare, largest models first.
LINES = (
    ProductLine("DeepSeek", ("deepseek-v3", "deepseek-v3.1", "deepseek-v3.2", "deepseek-v4-pro")),
    ProductLine("Xiaomi", ("mimo-v2.5-pro", "mimo-v2.6-pro")),
    ProductLine("Alibaba", ("qwen-plus", "qwen3.7-max", "qwen3.8-max")),
    ProductLine("Moonshot", ("kimi-k2", "kimi-k2.6", "kimi-k3", "kimi-k3.1-pro")),
    ProductLine("Z.ai", ("glm-4.5", "glm-4.6", "glm-4.7", "glm-5", "glm-5.1", "glm-5.2", "glm-5.3")),
    ProductLine(
        "OpenAI",
        ("gpt-4o", "gpt-5", "gpt-5.2", "gpt-5.4", "gpt-5.5", "gpt-5.6-sol", "gpt-6-sol", "gpt-6.1-sol"),
    ),
    ProductLine(
        "Anthropic",
        (
            "claude-opus-3", "claude-opus-4", "claude-opus-4.5", "claude-opus-4.7", "claude-opus-4.8", "claude-opus-5",
            "claude-opus-5.5",
        ),
    ),
    ProductLine("Google", ("gemini-2.5-pro", "gemini-3.1-pro", "gemini-4-argon")),
    ProductLine("DeepSeek", ("deepseek-v4-flash", "deepseek-v4.1-flash"), small=True),
    ProductLine("Xiaomi", ("mimo-v2-flash", "mimo-v2.5", "mimo-v2.6-flash"), small=True),
    ProductLine("Z.ai", ("glm-5.3-flash",), small=True),
    ProductLine("Alibaba", ("qwen3.8-flash",), small=True),
    ProductLine("OpenAI", ("gpt-5.4-nano", "gpt-5.6-luna", "gpt-6-luna"), small=True),
    ProductLine("Anthropic", ("claude-haiku-4.5", "claude-haiku-5.5"), small=True),
)  # fmt: skip
