"""One form of check for all labs: a function, cases, and what is right."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from costlab.lab.comparing import first_difference, said_plainly

Function = Callable[..., Any]
DEEPEST_VALUE = 12  # how far into arguments a change is looked for


@dataclass(frozen=True)
class _Outcome:
    """One case that went wrong."""

    case: tuple[Any, ...]  # the arguments
    result: Any  # what came out; None after an error
    error: Exception | None
    complaint: str  # what is wrong with it, in words
    place: int  # which case it is, from 0


def check(
    function: Function,
    cases: Iterable[Any],
    right: Function | Sequence[Any] | None = None,
    *,
    rule: Callable[..., str | None] | None = None,
    wrong: Mapping[str, Function | Sequence[Any]] | None = None,
    atol: float = 1e-5,
    rtol: float = 1e-5,
    unchanged: bool = True,
) -> None:
    """Call a function on each case and compare what it returns with what is right; print how many cases are.

    Args:
        function: the answer to a task.
        cases: each a tuple of arguments; anything else is one argument. The function gets copies.
        right: a function of the same arguments, or one value for each case. Where `...` stands in a value, anything
            is right.
        rule: a function of the result and the arguments that returns what is wrong with it, or None. For tasks that
            have more than one right answer.
        wrong: known mistakes, each under the hint that helps: functions that make them, or what these return, one
            value for each case (`...` where the mistake makes no difference). Where all cases that fail come out as
            one of them says, its hint is added.
        atol: absolute tolerance of numbers that are not whole.
        rtol: relative tolerance of them.
        unchanged: whether the function must leave its arguments as they are.

    Raises:
        AssertionError: with the input, what was returned and what it should be.
        NotImplementedError: as the function raises it: there is no answer yet.
        ValueError: a check without right answers, or with another number of them than of cases.
    """
    given = [case if type(case) is tuple else (case,) for case in cases]
    if right is None and rule is None:
        raise ValueError(f"check of {said_plainly(function)}: give `right`, `rule` or both")
    if isinstance(right, Sequence) and len(right) != len(given):
        raise ValueError(f"check of {said_plainly(function)}: {len(given)} cases, but {len(right)} right answers")
    judge = _Judge(right, rule, atol, rtol, unchanged)
    failed = [found for i, case in enumerate(given) if (found := judge.outcome(function, case, i))]
    name = "your answer" if said_plainly(function) == "<lambda>" else said_plainly(function)
    if not failed:
        print(f"✓ {name}: {len(given)} of {len(given)} cases")
        return
    first = failed[0]
    lines = [f"{name}: {len(given) - len(failed)} of {len(given)} cases are right. Not this one:"]
    lines.append(f"  {name}({', '.join(map(said_plainly, first.case))})")
    lines.append(f"  {first.complaint}")
    if hint := _hint(failed, wrong or {}, atol, rtol):
        lines.append(f"  Hint: {hint}")
    raise AssertionError("\n".join(lines)) from first.error


@dataclass(frozen=True)
class _Judge:
    """What a case is judged by; the fields are those of `check`."""

    right: Function | Sequence[Any] | None
    rule: Callable[..., str | None] | None
    atol: float
    rtol: float
    unchanged: bool

    def outcome(self, function: Function, case: tuple[Any, ...], place: int) -> _Outcome | None:
        """Return what went wrong with a case, or None."""
        arguments = _copied(case)
        try:
            result = function(*arguments)
        except NotImplementedError:
            raise
        except Exception as error:
            return _Outcome(case, None, error, f"{_raised(error)}{self._should(case, place)}", place)
        complaint = self._complaint(result, case, place)
        if complaint is None and self.unchanged:
            complaint = _changed(case, arguments)
        return None if complaint is None else _Outcome(case, result, None, complaint, place)

    def _expected(self, case: tuple[Any, ...], place: int) -> Any:
        return self.right(*_copied(case)) if callable(self.right) else self.right[place]  # type: ignore[index]

    def _should(self, case: tuple[Any, ...], place: int) -> str:
        return "" if self.right is None else f"; should return {said_plainly(self._expected(case, place))}"

    def _complaint(self, result: Any, case: tuple[Any, ...], place: int) -> str | None:
        if self.right is not None:
            expected = self._expected(case, place)
            if found := first_difference(result, expected, self.atol, self.rtol):
                return _told(result, expected, found)
        if self.rule is None:
            return None
        if result is None:
            return "returned None: is a `return` missing?"
        try:
            found = self.rule(result, *_copied(case))
        except Exception as error:  # the rule cannot even read it
            found = f"no value of the kind that is asked for ({type(error).__name__}: {error})"
        return f"returned {said_plainly(result)}: {found}" if found else None


def _raised(error: Exception) -> str:
    """Say what was raised; what a lab's own harness asserts is a sentence already."""
    try:
        said = str(error)
    except Exception:  # one of the student's own, which cannot even say what it is
        said = "it does not say what"
    if isinstance(error, AssertionError) and said:
        return said
    if "NoneType" in said:
        return "met None where a value should be: is a `return` missing?"
    return f"raised {type(error).__name__}: {said}"


def _told(result: Any, expected: Any, found: str) -> str:
    """Say what was returned and where it differs, without saying the same twice."""
    if found.startswith("at "):
        return f"returned {said_plainly(result)}, should be {said_plainly(expected)}; {found}"
    return f"returned {found}"


def _copied(case: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(map(_copy, case))


def _copy(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except TypeError:  # an open file or an iterator has no copy
        return value


def _changed(before: tuple[Any, ...], after: tuple[Any, ...]) -> str | None:
    for number, (old, new) in enumerate(zip(before, after, strict=True), 1):
        if _differs(old, new):
            return (
                f"changed its argument {number} to {said_plainly(new)}, should leave it as it was: {said_plainly(old)}"
            )
    return None


def _differs(old: Any, new: Any, depth: int = 0) -> bool:
    """Whether a copy was changed, in it or in what it holds; an object may note what it was asked."""
    if type(old) is not type(new) or depth > DEEPEST_VALUE:
        return type(old) is not type(new)
    if isinstance(old, np.ndarray):
        return first_difference(new, old, 0, 0) is not None
    if isinstance(old, list | tuple):
        return len(old) != len(new) or any(_differs(a, b, depth + 1) for a, b in zip(old, new, strict=True))
    if isinstance(old, dict):
        return old.keys() != new.keys() or any(_differs(old[key], new[key], depth + 1) for key in old)
    plain = isinstance(old, str | bytes | int | float | complex | set | bytearray)
    return plain and old is not new and first_difference(new, old, 0, 0) is not None


def _hint(
    failed: Sequence[_Outcome], wrong: Mapping[str, Function | Sequence[Any]], atol: float, rtol: float
) -> str | None:
    """Return the hint of the known mistake that all failing cases look like."""
    if any(each.error for each in failed):
        return None
    return next((hint for hint, make in wrong.items() if all(_looks(each, make, atol, rtol) for each in failed)), None)


def _looks(found: _Outcome, make: Function | Sequence[Any], atol: float, rtol: float) -> bool:
    try:
        mistaken = make(*_copied(found.case)) if callable(make) else make[found.place]
        return mistaken is not ... and first_difference(found.result, mistaken, atol, rtol) is None
    except Exception:  # a mistake need not work on every case
        return False
