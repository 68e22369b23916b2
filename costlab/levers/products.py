"""The levers of a product, each off or on: from a dense model served plainly to the model as it is served.

>>> from costlab import levers
>>> pro = levers.ladder("deepseek-v4-pro")
>>> off, on = pro.costs(()), pro.costs(levers.LEVERS)
>>> bool(off.output > 100 * on.output)
True

Chapter: levers
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from costlab import arch, catalog, checks
from costlab.arch import Model
from costlab.catalog import FrozenDict
from costlab.chips.assumptions import Assumption, Overrides
from costlab.levers.dense import in_sixteen_bits, with_full_attention, without_sparsity
from costlab.levers.figures import before_levers, service_figures
from costlab.levers.services import Service, TokenCosts, token_costs

#: The levers in the order in which they are told, and what each does.
LEVERS: Mapping[str, str] = FrozenDict(
    {
        "sparsity": "each token visits few experts, in place of all parameters",
        "attention": "the model's own attention, in place of grouped-query attention over all tokens in every layer",
        "precision": "weights, multiplications and cache in the bits that the maker publishes, in place of sixteen",
        "cache": "prompts are kept, in place of reading again what was sent before",
        "speculation": "the model's own module drafts a token, in place of one token a pass",
        "separation": "prefill and decode have chips of their own, in place of sharing each step",
        "batch and use": "as many sequences at once as memory and speed allow, and fuller hours, in place of few",
        "chip": "the chip that serves, in place of an older one",
    }
)


@dataclass(frozen=True)
class Ladder:
    """A product's model, and how it is served with every lever off and on."""

    model: Model  # as its maker serves it
    chip: str  # that serves it, by its key
    chip_before: str  # in its place where that lever is off
    figures: Mapping[str, Assumption]  # of the service with all levers on
    before: Mapping[str, Assumption]  # those that differ where their lever is off: utilisation, rent
    drafted: int  # tokens that its own modules draft
    batch_before: float  # sequences of each chip where that lever is off

    @property
    def levers(self) -> tuple[str, ...]:
        """The levers that the product has, as they are told; without speculation where nothing drafts."""
        return tuple(name for name in LEVERS if name != "speculation" or self.drafted)

    def service(self, on: Iterable[str]) -> Service:
        """Return how it is served with some levers.

        Raises:
            ValueError: a name that is no lever of the product.
        """
        used = frozenset(checks.pick({name: name for name in self.levers}, each, "lever") for each in on)
        figures = dict(self.figures)
        if "batch and use" not in used:
            figures["utilisation"] = self.before["utilisation"]
        if "chip" not in used:
            figures["rent"] = self.before["rent"]
        return Service(
            self._model(used & {"sparsity", "attention", "precision"}),
            self.chip if "chip" in used else self.chip_before,
            FrozenDict(figures),
            cached="cache" in used,
            drafted=self.drafted if "speculation" in used else 0,
            separate="separation" in used,
            batch_per_chip=None if "batch and use" in used else self.batch_before,
        )

    def costs(self, on: Iterable[str], values: Overrides | None = None) -> TokenCosts:
        """Return what tokens cost with some levers, see `token_costs`; values hold whether their lever is on or off."""
        return token_costs(self.service(on), values)

    def with_inputs(self, **instead: float | Assumption) -> Ladder:
        """Return the same levers with other figures, by their names with underscores, e.g. `hit_rate=0.9`.

        Use and rent where their levers are off stay: they are those `before`.

        Raises:
            ValueError: a name that is no input of a service; a number that it may not be.
        """
        figures = self.service(self.levers).with_inputs(**instead).inputs_by_name
        return dataclasses.replace(self, figures=figures)

    def _model(self, used: frozenset[str]) -> Model:
        return _forms(self.model)[used]


#: The forms of a model by its identity, which keeps it alive; the newest stand last.
_FORMS: dict[int, tuple[Model, Mapping[frozenset[str], Model]]] = {}
#: Most models of which they are kept.
_MOST_FORMS = 8


def _forms(model: Model) -> Mapping[frozenset[str], Model]:
    """A model with each set of its own levers, made once so that its layouts are found again."""
    found = _FORMS.pop(id(model), None) or (model, FrozenDict(_made(model)))
    _FORMS[id(model)] = found
    if len(_FORMS) > _MOST_FORMS:
        del _FORMS[next(iter(_FORMS))]
    return found[1]


def _made(model: Model) -> Iterator[tuple[frozenset[str], Model]]:
    for sparse, own, narrow in itertools.product((True, False), repeat=3):
        form = model if sparse else without_sparsity(model)
        form = form if own else with_full_attention(form)
        form = form if narrow else in_sixteen_bits(form)
        names = zip(("sparsity", "attention", "precision"), (sparse, own, narrow), strict=True)
        yield frozenset(name for name, on in names if on), form


#: The chip that serves where nobody says another one, and the older one before that lever.
SERVING_CHIP, CHIP_BEFORE = "h800", "a100-80g"
#: Sequences of each chip that decode at once where the batch is small: what one server's own users bring.
BATCH_BEFORE = 8.0


def ladder(
    model: str | Model,
    chip: str = SERVING_CHIP,
    *,
    chip_before: str = CHIP_BEFORE,
    traffic: str = "coding",
    batch_before: float = BATCH_BEFORE,
    drafted: int | None = None,
    given: Mapping[str, float | Assumption] | None = None,
) -> Ladder:
    """Return the levers of a model on a chip, with figures from the catalog.

    Args:
        model: key in the catalog, the path of a config.json, or a model.
        chip: key of the chip that serves.
        chip_before: key of the older chip.
        traffic: kind of use, e.g. "coding".
        batch_before: sequences of each chip where the batch is small.
        drafted: tokens that the model's own modules draft; None for one where it has any.
        given: figures of the service by name in the place of the catalog's, e.g. {"hit rate": 0.9}; use and rent where
            their levers are off stay.

    Raises:
        ValueError: an unknown model, chip or kind of use; drafted tokens without a module, or of a length that nobody
            measured; a chip without a rent in dollars, or without a published run on a chip of its maker.
    """
    built = arch.load(model)
    length = (1 if built.mtp_module is not None else 0) if drafted is None else drafted
    for each in (chip, chip_before):
        catalog.chip(each)
    figures = service_figures(built, chip, traffic, drafted=length, given=given)
    found = Ladder(
        built, chip.lower(), chip_before.lower(), FrozenDict(figures), FrozenDict(before_levers(chip_before)), length,
        batch_before,
    )  # fmt: skip
    found.service(())  # refuses what no rung can have: a batch of nothing, a drafter that is not there
    found.service(found.levers)
    return found


def served(model: str | Model, chip: str = SERVING_CHIP, *, traffic: str = "coding") -> Service:
    """Return how a model is served with all levers, with figures from the catalog.

    Raises:
        ValueError: as `ladder`.
    """
    steps = ladder(model, chip, traffic=traffic)
    return steps.service(steps.levers)


__all__ = ["BATCH_BEFORE", "CHIP_BEFORE", "LEVERS", "SERVING_CHIP", "Ladder", "ladder", "served"]
