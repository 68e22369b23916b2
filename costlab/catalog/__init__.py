"""Facts only, as TOML: models, chips, prices, exchange rates, claims, each with source and date; one typed loader.

>>> from costlab import catalog
>>> catalog.model("deepseek-v4-pro").hidden
7168

Chapter: prices
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path
from typing import TypeVar

from costlab.catalog.acceptance import AcceptanceCurve, EntropyFit, MeasuredSpeedup, PositionAcceptance
from costlab.catalog.chips import ChipRecord, Confidence, Offer, Supply
from costlab.catalog.decoding import CatalogError, FrozenDict, Place, TomlFile, decode, read_toml
from costlab.catalog.exchange import LESSON_DAY, convert, currencies_of, moment
from costlab.catalog.levers import LeverFigure, TrafficKind
from costlab.catalog.limits import OperationEnergy, PhysicalConstant, PublishedEnergy
from costlab.catalog.margins import MarginBasis, MarginCount, MarginStatement
from costlab.catalog.ownership import COST_UNITS, CostFigure, PublishedOwning, PublishedRun
from costlab.catalog.price_lists import Alias, PriceLists, PriceRow, PriceWindow, ServiceTier, Succession
from costlab.catalog.records import (
    DTYPE_BYTES,
    Article,
    Catalog,
    ClaimedModel,
    ClaimRecord,
    DraftHead,
    FxRate,
    LayerRun,
    LookupTable,
    ModelRecord,
    Mtp,
    PrefetchRule,
    Published,
    RopeStretch,
    Routing,
    Running,
    Scenario,
    ServingDay,
    StorageMedium,
    TraceStatistics,
)
from costlab.catalog.routes import (
    FusedOperator,
    OnnxOperator,
    OperatorCatalog,
    OperatorRoutes,
    OperatorSource,
    ShapeRule,
    TorchPlugin,
)
from costlab.catalog.serving import (
    LayoutRegime,
    NodeRate,
    OutputPrice,
    PhaseRates,
    ServingCatalog,
    ServingFigures,
    ServingGain,
    ServingObjective,
    ServingRow,
    ServingTable,
    SplitCluster,
    TransferTable,
)
from costlab.catalog.step_times import DecodeFit, FittedSteps, PrefillFit
from costlab.checks import pick

__all__ = [
    "COST_UNITS", "DTYPE_BYTES", "LESSON_DAY", "AcceptanceCurve", "Alias", "Article", "Catalog", "CatalogError",
    "ChipRecord", "ClaimRecord", "ClaimedModel", "Confidence", "CostFigure", "DecodeFit", "DraftHead",
    "EntropyFit", "FittedSteps", "FrozenDict", "FusedOperator", "FxRate", "LayerRun", "LayoutRegime",
    "LeverFigure", "LookupTable", "MarginBasis", "MarginCount", "MarginStatement", "MeasuredSpeedup",
    "ModelRecord", "Mtp", "NodeRate", "Offer", "OnnxOperator", "OperationEnergy", "OperatorCatalog",
    "OperatorRoutes", "OperatorSource", "OutputPrice", "PhaseRates", "PhysicalConstant", "Place",
    "PositionAcceptance", "PrefetchRule", "PrefillFit", "PriceRow", "PriceWindow", "Published",
    "PublishedEnergy", "PublishedOwning", "PublishedRun", "RopeStretch", "Routing", "Running", "Scenario",
    "ServiceTier", "ServingCatalog", "ServingDay", "ServingFigures", "ServingGain", "ServingObjective",
    "ServingRow", "ServingTable", "ShapeRule", "SplitCluster", "StorageMedium", "Succession", "Supply",
    "TorchPlugin", "TraceStatistics", "TrafficKind", "TransferTable", "chip", "currencies", "decode",
    "exchange_rate", "model", "moment", "operators", "place_of", "rate_rows", "tables",
]  # fmt: skip


T = TypeVar("T")

FOLDER = Path(__file__).parent


@functools.cache
def tables(folder: Path = FOLDER) -> Catalog:
    """Read and check every catalog file of a folder.

    Args:
        folder: holds the catalog's TOML files.

    Raises:
        CatalogError: naming file, line, key and value of the first fault.
    """
    prices = read_toml(folder / "prices.toml")
    rates = read_toml(folder / "fx.toml")
    claims = read_toml(folder / "claims.toml")
    storage = read_toml(folder / "storage.toml")
    published = read_toml(folder / "published.toml")
    accepted = read_toml(folder / "acceptance.toml")
    fitted = read_toml(folder / "step_times.toml")
    _only(fitted, "fit")
    _only(prices, "price", "window", "succession", "service", "alias")
    _only(rates, "rate")
    _only(claims, "article", "claim")
    _only(storage, "medium", "prefetch")
    _only(accepted, "curve", "positions", "fit", "speedup")
    owned = read_toml(folder / "ownership.toml")
    _only(owned, "cost", "owning", "run")
    together = read_toml(folder / "levers.toml")
    _only(together, "figure", "traffic")
    limits = read_toml(folder / "limits.toml")
    _only(limits, "constant", "operation", "energy")
    lists = _price_lists(prices)
    return Catalog(
        models=_tables(ModelRecord, read_toml(folder / "models.toml")),
        claimed_models=_tables(ClaimedModel, read_toml(folder / "claimed_models.toml")),
        draft_heads=_tables(DraftHead, read_toml(folder / "drafters.toml")),
        chips=_tables(ChipRecord, read_toml(folder / "chips.toml")),
        prices=lists.prices,
        fx=_rows(FxRate, rates, "rate"),
        days=_tables(ServingDay, published, leave=("traces",)),
        traces=_tables(TraceStatistics, published, "traces"),
        scenarios=_tables(Scenario, read_toml(folder / "scenarios.toml")),
        articles=_tables(Article, claims, "article"),
        claims=_tables(ClaimRecord, claims, "claim"),
        windows=lists.windows,
        successions=lists.successions,
        services=lists.services,
        aliases=lists.aliases,
        media=_tables(StorageMedium, storage, "medium"),
        prefetch=_tables(PrefetchRule, storage, "prefetch"),
        curves=_tables(AcceptanceCurve, accepted, "curve"),
        positions=_tables(PositionAcceptance, accepted, "positions"),
        entropy_fits=_tables(EntropyFit, accepted, "fit"),
        speedups=_tables(MeasuredSpeedup, accepted, "speedup"),
        serving=_serving(read_toml(folder / "serving.toml")),
        step_times=_tables(FittedSteps, fitted, "fit"),
        costs=_tables(CostFigure, owned, "cost"),
        owning=_tables(PublishedOwning, owned, "owning"),
        runs=_tables(PublishedRun, owned, "run"),
        margins=_tables(MarginStatement, read_toml(folder / "margins.toml")),
        lever_figures=_tables(LeverFigure, together, "figure"),
        traffic=_tables(TrafficKind, together, "traffic"),
        constants=_tables(PhysicalConstant, limits, "constant"),
        operation_energies=_tables(OperationEnergy, limits, "operation"),
        energies=_tables(PublishedEnergy, limits, "energy"),
    )


@functools.cache
def operators(folder: Path = FOLDER) -> OperatorCatalog:
    """Read and check what runs PyTorch's and ONNX's operators on Ascend: apart, being long and of use to few.

    Args:
        folder: holds operators.toml.

    Raises:
        CatalogError: naming file, line, key and value of the first fault.
    """
    source = read_toml(folder / "operators.toml")
    _only(source, "torch", "source", "aten", "onnx", "fused")
    plugins = _tables(TorchPlugin, source, "torch")
    return OperatorCatalog(
        aten=_tables(OperatorRoutes, source, "aten"),
        onnx=_tables(OnnxOperator, source, "onnx"),
        fused=_tables(FusedOperator, source, "fused"),
        sources=_tables(OperatorSource, source, "source"),
        torch_versions=tuple(plugins),
        plugins=plugins,
    )


def _price_lists(source: TomlFile) -> PriceLists:
    try:
        return PriceLists(
            prices=_rows(PriceRow, source, "price"),
            windows=_rows(PriceWindow, source, "window"),
            successions=_rows(Succession, source, "succession"),
            services=_rows(ServiceTier, source, "service"),
            aliases=_rows(Alias, source, "alias"),
        )
    except CatalogError:
        raise
    except ValueError as error:  # between rows
        raise CatalogError(f"{source.file}: {error}") from error


def _serving(source: TomlFile) -> ServingCatalog:
    kinds = ("rates", "objective", "cluster", "gain", "table", "transfer", "node", "price", "regime", "figures")
    _only(source, *kinds)
    try:
        return ServingCatalog(
            rates=_tables(PhaseRates, source, "rates"),
            objectives=_tables(ServingObjective, source, "objective"),
            clusters=_tables(SplitCluster, source, "cluster"),
            gains=_tables(ServingGain, source, "gain"),
            tables=_tables(ServingTable, source, "table"),
            transfers=_tables(TransferTable, source, "transfer"),
            nodes=_tables(NodeRate, source, "node"),
            output_prices=_tables(OutputPrice, source, "price"),
            regimes=_tables(LayoutRegime, source, "regime"),
            figures=_tables(ServingFigures, source, "figures"),
        )
    except CatalogError:
        raise
    except ValueError as error:  # between tables
        raise CatalogError(f"{source.file}: {error}") from error


def model(key: str) -> ModelRecord:
    """Return the published dimensions of a model, e.g. `model("deepseek-v4-pro")`.

    Raises:
        ValueError: an unknown key; the message lists the known ones.
    """
    return pick(tables().models, key, "model")


def chip(key: str) -> ChipRecord:
    """Return the data sheet of a chip, e.g. `chip("h800")`.

    Raises:
        ValueError: an unknown key; the message lists the known ones.
    """
    return pick(tables().chips, key, "chip")


def rate_rows(
    base: str, quote: str, when: str | date | datetime = LESSON_DAY, *, claims: bool = False
) -> tuple[float, tuple[FxRate, ...]]:
    """Return `exchange_rate` and the catalog's rows behind it: one, two that were multiplied, or none for one currency.

    Raises:
        ValueError: a pair that is not catalogued; the message lists the currencies that are.
    """
    return convert(tables().fx, base, quote, moment(when).date(), claims)


def exchange_rate(base: str, quote: str, when: str | date | datetime = LESSON_DAY, *, claims: bool = False) -> float:
    """Return units of `quote` for one `base`: the latest catalogued rate on or before the day, else the first after.

    A pair without rates of its own is crossed through a currency that has rates with both.

    Args:
        base: currency code, e.g. "USD".
        quote: currency code, e.g. "CNY".
        when: see `moment`.
        claims: prefer a rate that only an article uses, where it is the latest.

    Raises:
        ValueError: a pair that is not catalogued; the message lists the currencies that are.
    """
    return rate_rows(base, quote, when, claims=claims)[0]


def currencies() -> tuple[str, ...]:
    """Return the currencies that have exchange rates, in alphabetical order."""
    return currencies_of(tables().fx)


def place_of(key: str, file: str = "models.toml", folder: Path = FOLDER) -> Place:
    """Return file and line of an entry, for messages about it."""
    return _source(folder / file).place(key)


@functools.cache
def _source(path: Path) -> TomlFile:
    """Read a file once, as `tables` does: parsing the models takes longer than building one."""
    return read_toml(path)


def _only(source: TomlFile, *names: str) -> None:
    for name in source.data:
        if name not in names:
            raise CatalogError(f"{source.place(name)}: unknown table; known here: {', '.join(names)}")


def _tables(cls: type[T], source: TomlFile, *above: str, leave: Iterable[str] = ()) -> FrozenDict[str, T]:
    tables = source.data
    for name in above:
        tables = tables.get(name, {})
    kept = {key: decode(cls, table, source.place(*above, key)) for key, table in tables.items() if key not in leave}
    return FrozenDict(kept)


def _rows(cls: type[T], source: TomlFile, name: str) -> tuple[T, ...]:
    rows = source.data.get(name, [])
    return tuple(decode(cls, row, source.place(name, i)) for i, row in enumerate(rows))
