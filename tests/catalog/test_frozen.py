"""Nothing that the catalog holds can be changed, by nobody; records copy, pickle and travel to workers all the same."""

import copy
import dataclasses
import json
import pickle
from collections.abc import Mapping
from datetime import date, datetime, time

import pytest

from costlab import arch, catalog, roofline
from costlab.sweep import sweep

PLAIN = (str, int, float, bool, date, datetime, time, type(None))
WRITERS = [
    lambda d: d.__setitem__("fp8", 1.0),
    lambda d: d.__delitem__("fp8"),
    lambda d: d.__ior__({"fp8": 1.0}),
    lambda d: d.update(fp8=1.0),
    lambda d: d.setdefault("new", 1.0),
    lambda d: d.pop("fp8"),
    lambda d: d.popitem(),
    lambda d: d.clear(),
]


def parts(value, path="catalog"):
    """Every value in a record, with where it stands."""
    yield path, value
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from parts(getattr(value, field.name), f"{path}.{field.name}")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from parts(inner, f"{path}[{key!r}]")
    elif isinstance(value, list | tuple | set):
        for i, inner in enumerate(value):
            yield from parts(inner, f"{path}[{i}]")


def test_no_loaded_record_holds_anything_that_can_be_changed():
    mappings = 0
    for path, value in parts(catalog.tables()):
        if dataclasses.is_dataclass(value):
            assert value.__dataclass_params__.frozen, path
        elif isinstance(value, Mapping):
            mappings += 1
            with pytest.raises(TypeError):
                value["hidden"] = 1
        else:
            assert isinstance(value, (*PLAIN, tuple)), f"{path} is a {type(value).__name__}"
    assert mappings > 100


def test_what_code_holds_is_read_only_too():
    with pytest.raises(TypeError):
        catalog.DTYPE_BYTES["fp8"] = 2.0
    with pytest.raises(TypeError):
        catalog.Running(norm_eps=1e-5).rope_theta["full"] = 1.0  # of a default
    counts = arch.load("deepseek-v3").params
    for table in (counts.by_component, counts.active_by_component, arch.FP8_EQUIVALENTS, roofline.FALLBACK):
        with pytest.raises(TypeError):
            table["experts"] = 1


@pytest.mark.parametrize("write", WRITERS, ids=range(len(WRITERS)))
def test_a_chip_stays_what_its_data_sheet_says(write):
    """One careless line changed every later roofline of the process."""
    before = roofline.rate(catalog.chip("h800"), "fp8")
    with pytest.raises(TypeError, match=r"can't be changed; dataclasses\.replace makes another one"):
        write(catalog.chip("h800").flops)
    assert roofline.rate(catalog.chip("h800"), "fp8") == before == 1979e12


def test_every_writer_of_a_dict_is_tried():
    """A later Python's dict may learn another: names that a dict has and a read-only mapping has not."""
    known = {"__setitem__", "__delitem__", "__ior__", "update", "setdefault", "pop", "popitem", "clear"}
    harmless = {"__or__", "__ror__", "__reversed__", "copy", "fromkeys"}
    assert (
        set(vars(dict)) - set(dir(Mapping)) - {"__getattribute__", "__doc__", "__new__", "__init__"} <= known | harmless
    )


def worker(record):
    """The record as a worker process got it and sends it back."""
    return sweep(copy.copy, [record], jobs=2)[0].result


@pytest.mark.parametrize(
    "travel",
    [copy.copy, copy.deepcopy, dataclasses.replace, lambda r: pickle.loads(pickle.dumps(r)), worker],
    ids=["copy", "deepcopy", "replace", "pickle", "worker"],
)
def test_records_travel_and_stay_read_only(travel):
    record = catalog.tables()
    found = travel(record)
    assert found == record
    assert {path: type(value) for path, value in parts(found)} == {path: type(value) for path, value in parts(record)}


def test_a_changed_copy_is_anothers():
    chip = catalog.chip("h800")
    slow = dataclasses.replace(chip, flops={**chip.flops, "fp8": 1.0})
    assert (slow.flops["fp8"], chip.flops["fp8"]) == (1.0, 1979e12)
    assert chip.flops | {"fp8": 1.0} == slow.flops
    assert json.loads(json.dumps(dataclasses.asdict(chip)["flops"])) == chip.flops


def test_models_build_from_read_only_tables():
    record = catalog.model("deepseek-v4-pro")
    assert isinstance(record.attention["csa"]["entry"], tuple)
    assert (
        arch.build("again", record, catalog.place_of("deepseek-v4-pro")).params == arch.load("deepseek-v4-pro").params
    )
