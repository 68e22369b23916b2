"""What moves between the tiers, and what the store refuses: against an LRU list, and example by example."""

import errno
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest
from cache.store_pages import GEOMETRY, is_right, page_of, served_right
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from costlab.cache.store import FolderInUse, Geometry, Spec, Store, StoreError
from costlab.cache.store import lock as lock_module
from costlab.cache.store import store as store_module
from costlab.cache.store.pages import canonical, digest


def put(store, *keys):
    return store.put(keys, [page_of(key) for key in keys])


@settings(max_examples=examples(100))
@given(st.integers(1, 4), st.integers(0, 4), st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60))
def test_memory_and_ram_together_are_one_lru_list(memory, ram, steps):
    """The oracle is a dict in order of use; memory holds its last pages, RAM those before them."""
    oracle = OrderedDict()
    with Store(GEOMETRY, memory, ram) as store:
        for is_put, key in steps:
            held = key in oracle
            assert store.match([key]) == held
            if is_put:
                assert put(store, key) == (not held)
            else:
                assert [is_right(key, page) for page in store.load([key])] == [True] * held
            if is_put or held:
                oracle[key] = None
                oracle.move_to_end(key)
            if len(oracle) > memory + ram:
                oracle.popitem(last=False)
            store.check()
            assert sum(store.pages.values()) == len(oracle)
            assert store.pages["memory"] == min(memory, len(oracle))


def test_pages_move_down_and_come_back(tmp_path):
    with Store(GEOMETRY, 2, 2, tmp_path) as store:
        put(store, *range(6))
        store.flush()
        assert store.pages == {"memory": 2, "ram": 2, "files": 6}
        for key, tier in [(5, "memory"), (3, "ram"), (0, "file")]:
            before = getattr(store.stats, f"served_{tier}")
            assert served_right(store, [key]) == 1
            assert getattr(store.stats, f"served_{tier}") == before + 1
            assert served_right(store, [key]) == 1, "it is in memory now"
            assert store.stats.served_memory >= 1
        store.check()


@pytest.mark.parametrize("write", ["through", "back"])
def test_reopened_it_has_everything(tmp_path, write):
    with Store(GEOMETRY, 2, 1, tmp_path, write=write, queue_pages=1) as store:
        assert put(store, *range(20)) == 20
        store.check()
    with Store(GEOMETRY, 2, 1, tmp_path) as store:
        assert store.match(range(30)) == store.durable(range(30)) == 20
        assert served_right(store, range(20)) == 20
        assert put(store, 3) == 0


def test_write_back_writes_only_what_must_leave(tmp_path):
    with Store(GEOMETRY, 2, 2, tmp_path, write="back") as store:
        put(store, 0, 1, 2, 3)
        assert store.stats.written == 0
        assert store.durable([0]) == 0
        put(store, 4)
        assert store.stats.written >= 1
        assert store.durable([0]) == 1
        assert served_right(store, range(5)) == 5


def test_the_file_tier_keeps_the_pages_used_last(tmp_path):
    with Store(GEOMETRY, 1, folder=tmp_path, file_pages=3) as store:
        for key in range(3):
            put(store, key)
            store.flush()
        served_right(store, [0])
        put(store, 3)
        store.flush()
        assert [store.durable([key]) for key in range(4)] == [1, 0, 1, 1]
        assert store.stats.evicted_files == 1
        store.check()
    with Store(GEOMETRY, 1, folder=tmp_path, file_pages=2) as store:
        assert store.pages["files"] == 2
        assert len(list(tmp_path.glob("*.page"))) == 2


def test_pages_in_use_stay(tmp_path):
    with Store(GEOMETRY, 2, folder=tmp_path) as store:
        put(store, 0, 1, 2, 3)
        store.flush()
        with store.borrow([0, 1, 2, 3]) as pages:  # two in slots, two beside them
            assert all(is_right(key, page) for key, page in enumerate(pages))
            assert put(store, 8, 9) == 0
            assert store.stats.refused == 2
            store.check()
            assert all(is_right(key, page) for key, page in enumerate(pages))
            with pytest.raises(ValueError, match="read-only"):
                pages[0]["a"][0] = 1
        assert put(store, 8, 9) == 2
        assert served_right(store, [0, 1, 2, 3, 8, 9]) == 6


def test_a_borrowed_page_is_not_moved_by_others():
    with Store(GEOMETRY, 1, 1) as store:
        put(store, 0, 1)
        with store.borrow([1]), store.borrow([0]) as ram:
            assert is_right(0, ram[0])
            assert put(store, 2) == 0
            store.check()
        store.check()
        assert served_right(store, [0, 1]) == 2


def test_load_gives_copies():
    with Store(GEOMETRY, 1) as store:
        put(store, 0)
        store.load([0])[0]["a"][:] = 0
        assert served_right(store, [0]) == 1


def test_load_and_match_stop_at_the_first_gap():
    with Store(GEOMETRY, 9) as store:
        put(store, 0, 1, 3)
        assert store.match(range(5)) == len(store.load(range(5))) == 2
        assert store.stats.missed == 3


def test_raw_bytes():
    with Store(Geometry.raw(5), 2) as store:
        store.put([b"k"], [b"hello"])
        assert store.load([b"k"])[0]["bytes"].tobytes() == b"hello"
        with pytest.raises(ValueError, match="bytes uint8 3"):
            store.put([b"l"], [b"abc"])
        assert store.match([b"l"]) == 0


def test_numbers_and_bytes_are_different_keys():
    with Store(GEOMETRY, 4) as store:
        put(store, 7)
        assert store.match([b"7"]) == store.match([b"i7"]) == 0
        assert store.match([np.int64(7)]) == 1
    with pytest.raises(ValueError, match=r"'seven'.*bytes or a whole number"):
        canonical("seven")


def test_sixteen_bytes_tell_pages_apart():
    assert digest(b"ab", b"c") == digest(b"abc") != digest(b"abd")
    assert digest(b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223"  # FIPS 180-4's example, the first half


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ({}, "page of nothing"),
        ({"a": np.zeros((2, 8, 4), np.float32)}, "page of a float32 2x8x4; this store's pages are 2 arrays"),
        ({**page_of(0), "b": np.zeros(6, np.int16)}, "b int16 6"),
        ({**page_of(0), "b": np.zeros(5, np.int32)}, "b int32 5"),
        ({**page_of(0), "c": np.zeros(1)}, "c float64 1"),
        (np.zeros(3), "page ndarray should be named NumPy arrays; this store's pages are 2 arrays"),
        ({"a": [1.0]}, "should be named NumPy arrays"),
    ],
)
def test_pages_of_other_arrays_are_refused(page, message):
    with Store(GEOMETRY, 1) as store:
        with pytest.raises(ValueError, match=message):
            store.put([0], [page])
        assert store.pages == {"memory": 0}


@pytest.mark.parametrize(
    ("keys", "count", "message"),
    [
        ([1, 2, 3], 2, "3 keys and 2 pages"),
        ([1], 2, "1 keys and 2 pages"),
        ([], 1, "0 keys and 1 pages"),
        ([1, 2, "three"], 3, "'three'.*bytes or a whole number"),
        ([1, 2, 3.0], 3, "3.0.*bytes or a whole number"),
        (b"key", 3, r"b'key' should be a list of keys; of one: \[b'key'\]"),
        ("key", 3, "'key' should be a list of keys"),
    ],
)
def test_what_cannot_be_put_whole_is_not_put_in_part(tmp_path, keys, count, message):
    with Store(GEOMETRY, 4, folder=tmp_path) as store:
        with pytest.raises(ValueError, match=message):
            store.put(keys, [page_of(key) for key in range(count)])
        store.flush()
        assert store.pages == {"memory": 0, "files": 0}
        assert (store.stats.put, store.stats.written) == (0, 0)


def test_bad_keys_are_told_wherever_they_stand():
    """Behind a gap, too; and nothing counts as served then. Bytes alone are one key, not the numbers in them."""
    with Store(GEOMETRY, 4) as store:
        put(store, *b"key")
        for ask in (store.match, store.load, store.durable):
            for keys in ([5, "six"], b"key"):
                with pytest.raises(ValueError, match=r"'six' should be bytes or a whole number|list of keys"):
                    ask(keys)
        assert (store.stats.served_memory, store.stats.missed) == (0, 0)


def test_arrays_in_another_order_are_the_same_page():
    with Store(GEOMETRY, 1) as store:
        store.put([4], [dict(reversed(page_of(4).items()))])
        assert served_right(store, [4]) == 1


def test_bad_sizes_are_quoted(tmp_path):
    for size in (
        {"memory_pages": 0},
        {"ram_pages": -1},
        {"queue_pages": 0},
        {"memory_pages": 2.0},
        {"ram_pages": True},
    ):
        with pytest.raises(ValueError, match=r"whole numbers of at least 1"):
            Store(GEOMETRY, **{"memory_pages": 1, **size}, folder=tmp_path)
    with pytest.raises(ValueError, match=r"unknown way of writing 'never'; known: back, through"):
        Store(GEOMETRY, 1, write="never")
    for bad in (("a", "float31", (1,)), ("a", "object", (1,)), ("a", "int8", (0,))):
        with pytest.raises(ValueError, match=bad[1]):
            Spec(*bad)
    with pytest.raises(ValueError, match="different names"):
        Geometry((Spec("a", "int8", (1,)),) * 2)


def test_the_way_of_writing_is_taken_in_any_case(tmp_path):
    with Store(GEOMETRY, 2, folder=tmp_path, write="Back") as store:
        put(store, 0)
        assert store.write == "back"
        assert store.stats.written == 0


def test_a_store_without_folder_makes_nothing_durable():
    with Store(GEOMETRY, 1) as store:
        put(store, 0)
        assert store.durable([0]) == 0
        with pytest.raises(ValueError, match="folder="):
            store.flush()


def test_closed_it_says_so_and_closing_twice_is_fine(tmp_path):
    store = Store(GEOMETRY, 1, folder=tmp_path)
    store.close()
    store.close()
    for call in (lambda: put(store, 0), lambda: store.match([0]), lambda: store.load([0]), store.flush):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_the_second_store_in_a_folder_is_told_who_has_it(tmp_path):
    with Store(GEOMETRY, 1, folder=tmp_path), pytest.raises(FolderInUse, match=str(tmp_path)):
        Store(GEOMETRY, 1, folder=tmp_path)
    Store(GEOMETRY, 1, folder=tmp_path).close()


def raising(error):
    def call(*_):
        raise error

    return call


@pytest.mark.parametrize(
    ("where", "name", "error"),
    [
        (store_module, "Arena", MemoryError("no room for the pages")),
        (store_module, "WriteBack", RuntimeError("can't start new thread")),
        (lock_module.os, "getpid", OSError(errno.ENOSPC, "No space left on device")),
    ],
)
def test_an_opening_that_fails_gives_the_folder_back(tmp_path, monkeypatch, where, name, error):
    """While its traceback lives, too, as it does in a notebook."""
    with monkeypatch.context() as patch:
        patch.setattr(where, name, raising(error))
        with pytest.raises((type(error), StoreError)) as failure:
            Store(GEOMETRY, 1, folder=tmp_path)
    with Store(GEOMETRY, 1, folder=tmp_path) as store:
        put(store, 0)
    assert failure.tb is not None


def test_a_read_without_memory_for_it_locks_nobody_out(tmp_path, monkeypatch):
    """Every slot is in use, so the page of a file needs memory of its own, and there is none."""
    with Store(GEOMETRY, 1, folder=tmp_path) as store:
        put(store, 0)
        store.flush()
        put(store, 1)
        with store.borrow([1]), monkeypatch.context() as patch:
            patch.setattr(store_module.np, "zeros", raising(MemoryError()))
            with pytest.raises(MemoryError):
                store.load([0])
        assert served_right(store, [0, 1]) == 2
        store.check()


def test_importing_the_store_starts_nothing():
    code = "import sys, costlab.cache.store; print(*{'fcntl', 'mmap', 'multiprocessing', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
