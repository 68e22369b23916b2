"""Several threads at once: every page right, every account balanced, nobody stuck."""

import random
import threading

import pytest
from cache.store_pages import GEOMETRY, is_right, page_of

from costlab.cache.store import Store

KEYS = 24


def work(store, seed, steps, errors):
    rng = random.Random(seed)
    try:
        for _ in range(steps):
            first = rng.randrange(KEYS)
            some = range(first, min(KEYS, first + rng.randint(1, 5)))
            kind = rng.random()
            if kind < 0.4:
                store.put(some, [page_of(key) for key in some])
            elif kind < 0.7:
                assert all(is_right(key, page) for key, page in zip(some, store.load(some), strict=False))
            elif kind < 0.9:
                with store.borrow(some) as pages:
                    assert all(is_right(key, page) for key, page in zip(some, pages, strict=False))
            elif kind < 0.95 and store.stats.put:
                store.flush()
            else:
                store.check()
    except BaseException as error:
        errors.append(error)


@pytest.mark.parametrize("write", ["through", "back"])
@pytest.mark.parametrize("files", [None, 4])
def test_readers_and_writers(tmp_path, write, files):
    errors = []
    with Store(GEOMETRY, 4, 3, tmp_path, files, write=write, queue_pages=3) as store:
        threads = [threading.Thread(target=work, args=(store, seed, 80, errors), daemon=True) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(600)
        assert not errors
        assert not any(thread.is_alive() for thread in threads), "somebody is stuck"
        store.flush()
        store.check()
        stats = store.stats
        assert stats.lost == stats.failed == stats.damaged == 0
        assert stats.served_memory > 0
        assert stats.served_file > 0 or files is not None
        assert files is None or len(list(tmp_path.glob("*.page"))) <= files


def test_one_file_read_by_many_is_read_once(tmp_path):
    with Store(GEOMETRY, 2, folder=tmp_path) as store:
        store.put(range(3), [page_of(key) for key in range(3)])
        store.flush()
        assert store.stats.served_file == 0
        start = threading.Barrier(5)
        got = []

        def read():
            start.wait()
            got.extend(store.load([0]))

        threads = [threading.Thread(target=read) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(600)
        assert [is_right(0, page) for page in got] == [True] * 5
        assert store.stats.served_file == 1
        assert store.stats.served_memory == 4
