"""Purchases that the tests of the chip lever share: an H100 server with the inputs of a published check, and any."""

from datetime import date

from hypothesis import strategies as st

from costlab.chips import Assumption, Rental, purchase

DAY = date(2026, 6, 1)


def published(**instead):
    """A server of eight H100 at stated inputs; its cost is known to five digits."""
    given = {
        "life": 4, "interest": 0.09, "rated_w": 10_200, "load_w": 10_200, "idle_w": 0, "pue": 1.3, "tariff": 0.09,
        "room": 184, "maintenance": 0.03, "network": 0.11, "utilisation": 0.8,
    }  # fmt: skip
    name, currency, price = instead.pop("name", "H100"), instead.pop("currency", "USD"), instead.pop("price", 310_000)
    return purchase(name, currency, price, **(given | instead))


def figure(value, low=None, high=None, unit="", currency="", key="", day=DAY):
    return Assumption(value, unit, "a test", day, low, high, currency, key)


def rent(amount, paid="used", use=0.8, **more):
    return Rental("rent", "USD", figure(amount, unit="USD per chip-hour", currency="USD"), figure(use), paid, **more)


def zero_of(difference, low, high):
    """Where a function that is positive at `low` and negative at `high` is 0, by halving."""
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if difference(middle) > 0 else (low, middle)
    return (low + high) / 2


ANY = st.fixed_dictionaries(
    {
        "price": st.floats(1e4, 1e7),
        "life": st.floats(1, 8),
        "residual": st.floats(0.01, 0.9),
        "interest": st.floats(0, 0.2),
        "rated_w": st.floats(1000, 20_000),
        "load_w": st.floats(3000, 10_000),
        "idle_w": st.floats(0, 3000),
        "pue": st.floats(1, 2),
        "tariff": st.floats(0.01, 0.5),
        "maintenance": st.floats(0, 0.15),
        "room": st.floats(0, 300),
        "host": st.floats(0, 1),
        "network": st.floats(0, 0.3),
        "vat": st.floats(0, 0.2),
        "utilisation": st.floats(0.05, 1),
        "method": st.sampled_from(["straight-line", "annuity", "exponential"]),
        "vat_recoverable": st.booleans(),
    }
)
