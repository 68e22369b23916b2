"""Bit rot: whatever happens to a page file, its page is served right or not at all."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from cache.store_pages import GEOMETRY, page_of, served_right
from effort import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costlab.cache.store import Geometry, GeometryMismatch, Store
from costlab.cache.store.files import Damaged, Header

KEYS = range(4)
quickly = settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    with Store(GEOMETRY, 4, folder=folder) as store:
        store.put(KEYS, [page_of(key) for key in KEYS])
    return folder


@pytest.fixture
def folder(good, tmp_path) -> Path:
    return fresh(good, tmp_path)


def fresh(good: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(good, copy)
    return copy


def pages(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.page"))


def path_of(folder: Path, key: int) -> Path:
    with Store(GEOMETRY, 1, folder=folder) as store:
        return store._files.path(b"i%d" % key)


@quickly
@given(st.data())
def test_flipped_bits_are_never_served(good, tmp_path, data):
    """Any bytes of any page, changed before the store is opened or while it is open."""
    folder = fresh(good, tmp_path)
    victim = data.draw(st.sampled_from(pages(folder)))
    content = bytearray(victim.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    changed = bytes(content) != victim.read_bytes()
    before = data.draw(st.booleans())
    if before:
        victim.write_bytes(content)
    with Store(GEOMETRY, 1, folder=folder) as store:
        if not before:
            victim.write_bytes(content)
        assert served_right(store, KEYS) == len(KEYS) - changed
        assert store.stats.damaged == changed
        assert store.stats.missed == changed
        assert sum(store.match([key]) for key in KEYS) == len(KEYS) - changed
        assert len(pages(folder)) == len(KEYS) - changed, "a damaged page is removed"
        store.check()


def test_every_single_byte_counts(good, tmp_path):
    """Not a sample: each byte of one page file, inverted."""
    folder = fresh(good, tmp_path)
    victim = path_of(folder, 2)
    content = victim.read_bytes()
    with Store(GEOMETRY, 1, folder=folder) as store:
        files = store._files
        row = np.zeros(store.geometry.row_bytes, np.uint8)
        for place in range(len(content)):
            victim.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
            with pytest.raises(Damaged):
                files.read(b"i2", row)
        victim.write_bytes(content)
        assert served_right(store, [2]) == 1


@quickly
@given(st.data())
def test_truncated_and_lengthened_files_are_never_served(good, tmp_path, data):
    folder = fresh(good, tmp_path)
    victim = data.draw(st.sampled_from(pages(folder)))
    content = victim.read_bytes()
    length = data.draw(st.integers(0, len(content) + 100).filter(lambda n: n != len(content)))
    before = data.draw(st.booleans())
    if before:
        victim.write_bytes(content.ljust(length, b"\0")[:length])
    with Store(GEOMETRY, 1, folder=folder) as store:
        victim.write_bytes(content.ljust(length, b"\0")[:length])
        assert served_right(store, KEYS) == len(KEYS) - 1


def test_a_file_that_is_gone_is_a_miss(folder):
    with Store(GEOMETRY, 1, folder=folder) as store:
        pages(folder)[0].unlink()
        assert served_right(store, KEYS) == 3
        assert sum(store.match([key]) for key in KEYS) == 3
        assert store.put(KEYS, [page_of(key) for key in KEYS]) == 1
        assert served_right(store, KEYS) == 4


@pytest.mark.parametrize("reopen", [True, False])
def test_files_that_have_changed_places_are_never_served(folder, reopen):
    """Each is whole and its digests agree, but it is another key's page."""
    a, b = path_of(folder, 0), path_of(folder, 1)
    store = None if reopen else Store(GEOMETRY, 1, folder=folder)
    content = a.read_bytes()
    a.write_bytes(b.read_bytes())
    b.write_bytes(content)
    with store or Store(GEOMETRY, 1, folder=folder) as store:
        assert served_right(store, KEYS) == 2
        assert store.stats.damaged == 2


def test_a_damaged_page_ends_the_prefix_and_can_be_put_again(folder):
    path_of(folder, 1).write_bytes(b"rubbish")
    with Store(GEOMETRY, 4, folder=folder) as store:
        assert store.match(KEYS) == 1
        assert len(store.load(KEYS)) == 1
        store.put([1], [page_of(1)])
        store.flush()
        assert store.durable(KEYS) == 4
    with Store(GEOMETRY, 4, folder=folder) as store:
        assert served_right(store, KEYS) == 4


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"arrays": [], "digest": "00"}', b"\xff\xfe"])
def test_a_damaged_record_of_the_geometry_is_written_anew(folder, content):
    (folder / "store.json").write_bytes(content)
    with Store(GEOMETRY, 1, folder=folder) as store:
        assert served_right(store, KEYS) == 4
    assert json.loads((folder / "store.json").read_bytes())["arrays"] == GEOMETRY.as_rows()


@pytest.mark.parametrize("record", [True, False], ids=["with store.json", "without"])
def test_another_geometry_is_refused_and_the_folder_left_as_it_was(folder, record):
    if not record:
        (folder / "store.json").unlink()
    before = {path.name: path.read_bytes() for path in pages(folder)}
    with pytest.raises(GeometryMismatch, match=r"a float32 2x8x4.*bytes uint8 10.*another folder"):
        Store(Geometry.raw(10), 1, folder=folder)
    assert {path.name: path.read_bytes() for path in pages(folder)} == before
    with Store(GEOMETRY, 1, folder=folder) as store:  # the refused one left no lock behind
        assert served_right(store, KEYS) == 4


def test_files_of_others_are_left_alone(folder):
    (folder / "notes.txt").write_text("mine")
    with Store(GEOMETRY, 1, folder=folder) as store:
        assert served_right(store, KEYS) == 4
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_header_says_what_it_is(folder):
    with open(path_of(folder, 3), "rb") as file:
        header = Header.read(file)
    assert header.key == b"i3"
    assert header.arrays == [["a", "float32", [2, 8, 4]], ["b", "int16", [5]]]
