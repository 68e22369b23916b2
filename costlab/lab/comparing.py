"""Two values compared as a teacher would: by what they say, not by the type that says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from numbers import Number
from typing import Any

import numpy as np

#: A list or array of more numbers than this is described by its shape.
LARGEST_LISTED = 24


def said_plainly(value: Any) -> str:
    """Return a value as a message shows it: small arrays as lists, large ones by their shape.

    Args:
        value: anything.
    """
    try:
        return _said(value)
    except RecursionError:
        return f"a {type(value).__name__} that contains itself"
    except Exception:  # whatever its own `__repr__` does
        return f"a {type(value).__name__} that cannot be shown"


def _said(value: Any) -> str:
    if isinstance(value, np.ndarray):
        if value.size > LARGEST_LISTED:
            return f"an array of shape {value.shape}"
        return _said(value.tolist())
    if isinstance(value, np.generic):
        return _said(value.item())
    if isinstance(value, float):
        return f"{value:.7g}"
    if isinstance(value, tuple) and type(value) is tuple:
        return f"({', '.join(map(_said, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, list) and len(value) <= LARGEST_LISTED:
        return f"[{', '.join(map(_said, value))}]"
    if isinstance(value, list):
        return f"a list of {len(value)}: [{', '.join(map(_said, value[:4]))}, …]"
    if isinstance(value, set | frozenset) and value:
        return f"{{{', '.join(sorted(map(_said, value), key=lambda text: (len(text), text)))}}}"
    if isinstance(value, np.random.Generator):
        return "rng"
    if callable(value) and hasattr(value, "__name__"):
        return str(value.__name__)
    if value is ...:
        return "..."
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}…"


def first_difference(got: Any, right: Any, atol: float = 1e-5, rtol: float = 1e-5) -> str | None:
    """Return in words the first place where a value differs from the right one, or None where it does not.

    Lists, tuples and arrays of the same numbers are equal, and so are 3 and 3.0. Whole numbers are compared exactly,
    others within `atol + rtol x |right|`; nan equals nan, and anything equals `...`.

    Args:
        got: the value to judge.
        right: what it should be.
        atol: absolute tolerance.
        rtol: relative tolerance.
    """
    return _different(got, right, "", atol, rtol)


def _different(got: Any, right: Any, place: str, atol: float, rtol: float) -> str | None:
    at = f"at {place}: " if place else ""
    if right is ...:
        return None
    if got is None and right is not None:
        return f"{at}None, should be {said_plainly(right)}" + ("" if place else " (is a `return` missing?)")
    if type(got) is type(right) is int:  # of any size
        return None if got == right else f"{at}{said_plainly(got)}, should be {said_plainly(right)}"
    if isinstance(right, np.ndarray) or _is_number(right):
        return _numbers_differ(got, np.asarray(right), place, atol, rtol)
    if isinstance(right, str | bytes) or right is None:
        return None if _equal(got, right) else f"{at}{said_plainly(got)}, should be {said_plainly(right)}"
    if isinstance(right, Mapping):
        return _mappings_differ(got, right, place, atol, rtol)
    if isinstance(right, Sequence):
        return _sequences_differ(got, right, place, atol, rtol)
    return None if _equal(got, right) else f"{at}{said_plainly(got)}, should be {said_plainly(right)}"


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float | complex | np.generic) and not isinstance(value, str | bytes)


def _equal(got: Any, right: Any) -> bool:
    try:
        # What the right value says; the other may say anything.
        same = type(right).__eq__(right, got)  # type: ignore[call-arg]
        return same is not NotImplemented and bool(same)
    except (TypeError, ValueError):  # an array, say, where one word should be
        return False


def _numbers(got: Any) -> Any:
    """Return an array; fractions and decimals become floats."""
    found = np.asarray(got)
    if found.dtype.kind == "O" and found.size and all(isinstance(each, Number | Decimal) for each in found.flat):
        return found.astype(float)
    return found


def _numbers_differ(got: Any, right: Any, place: str, atol: float, rtol: float) -> str | None:
    at = f"at {place}: " if place else ""
    try:
        found = _numbers(got)
    except Exception:  # lists of unequal lengths, or what its own `__array__` raises
        return f"{at}{said_plainly(got)} is no array, should have shape {right.shape}"
    if found.dtype.kind not in "biufc":
        return f"{at}{said_plainly(got)} ({type(got).__name__}), should be {_number_or_shape(right)}"
    if found.shape != right.shape:
        return f"{at}{_shape(found)}, should be {_number_or_shape(right)}"
    wrong = np.atleast_1d(~_close(found, right, atol, rtol))
    if not wrong.any():
        return None
    first = tuple(int(i) for i in np.argwhere(wrong)[0]) if found.ndim else ()
    where = place + (f"[{', '.join(map(str, first))}]" if first else "")
    lead = f"at {where}: " if where else ""
    more = f" ({int(wrong.sum())} of {found.size} numbers differ)" if found.size > 1 else ""
    return f"{lead}{said_plainly(found[first])}, should be {said_plainly(right[first])}{more}"


def _number_or_shape(right: Any) -> str:
    return said_plainly(right) if not right.ndim else f"an array of shape {right.shape}"


def _shape(found: Any) -> str:
    return f"one number, {said_plainly(found)}" if not found.ndim else f"an array of shape {found.shape}"


def _close(found: Any, right: Any, atol: float, rtol: float) -> Any:
    """Whether numbers agree: whole ones to the last digit, but for what division of floats leaves behind."""
    if right.dtype.kind in "biu":
        if found.dtype.kind in "biu":
            return found == right
        atol, rtol = 1e-9, 1e-9
    with np.errstate(invalid="ignore"):  # infinity less infinity
        return np.isclose(found, right, atol=atol, rtol=rtol, equal_nan=True)


def _mappings_differ(got: Any, right: Mapping[Any, Any], place: str, atol: float, rtol: float) -> str | None:
    at = f"at {place}: " if place else ""
    if not isinstance(got, Mapping):
        return f"{at}{said_plainly(got)} ({type(got).__name__}), should be a dictionary: {said_plainly(right)}"
    if missing := [key for key in right if key not in got]:
        return f"{at}no key {said_plainly(missing[0])}, should have {said_plainly(list(right))}"
    if extra := [key for key in got if key not in right]:
        return f"{at}a key {said_plainly(extra[0])} too many, should have {said_plainly(list(right))}"
    differ = (_different(got[key], right[key], f"{place}[{said_plainly(key)}]", atol, rtol) for key in right)
    return next((each for each in differ if each), None)


def _sequences_differ(got: Any, right: Sequence[Any], place: str, atol: float, rtol: float) -> str | None:
    at = f"at {place}: " if place else ""
    if not isinstance(got, Sequence | np.ndarray) or isinstance(got, str | bytes):
        return f"{at}{said_plainly(got)} ({type(got).__name__}), should be {said_plainly(right)}"
    if isinstance(got, np.ndarray) and not got.ndim:
        return f"{at}one number, {said_plainly(got)}, should be {said_plainly(right)}"
    if len(got) != len(right):
        return f"{at}{len(got)} values, should be {len(right)}: {said_plainly(right)}"
    pairs = enumerate(zip(got, right, strict=True))
    differ = (_different(one, other, f"{place}[{i}]", atol, rtol) for i, (one, other) in pairs)
    return next((each for each in differ if each), None)
