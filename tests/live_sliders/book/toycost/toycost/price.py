"""One formula."""


def price_per_token(dollars_per_hour: float, tokens_per_second: float) -> float:
    """Dollars for one token."""
    return dollars_per_hour / 3600 / tokens_per_second
