"""A course package as small as can be."""

from toycost.price import price_per_token

__all__ = ["price_per_token"]
