"""Processes that are killed while they write; run by test_store_crash.py.

store_child.py write FOLDER          for each seed on stdin fork a writer and print its process; it puts pages until
                                     killed and prints after each how many leading keys are durable; then an empty line
store_child.py die FOLDER LIMIT      in forks: die at the first, second, … step of writing; check after each
store_child.py limit FOLDER          put pages under a real limit on file sizes, print what the store says
"""

import os
import random
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from cache.store_pages import GEOMETRY, MANY, page_of, served_right

from costlab.cache.store import Disk, Store, StoreError

PAGES = 7


def write_until_killed(folder, seed):
    rng = random.Random(seed)
    with Store(GEOMETRY, 4, 2, folder, write=rng.choice(["through", "back"]), queue_pages=rng.choice([1, 4])) as store:
        count = store.match(range(MANY))
        print(count, flush=True)
        while True:
            keys = range(count, count + rng.randint(1, 4))
            store.put(keys, [page_of(key) for key in keys])
            count = keys.stop
            if rng.random() < 0.2:
                store.flush()
            print(store.durable(range(count)), flush=True)


def write_often(folder):
    """One process after another, all forked off this one, which has paid for the imports."""
    for seed in sys.stdin:
        child = os.fork()
        if child == 0:
            print(f"process {os.getpid()}", flush=True)
            write_until_killed(folder, int(seed))
        status = os.waitpid(child, 0)[1]
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        print(flush=True)


class Dying(Disk):
    """Kills its process at a given step; a write has three: before, half done, done."""

    def __init__(self, steps):
        self.left = steps

    def step(self):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)

    def write(self, path, parts):
        self.step()
        whole = b"".join(bytes(part) for part in parts)
        path.write_bytes(whole[: len(whole) * 2 // 3])
        self.step()
        super().write(path, parts)
        self.step()

    def rename(self, source, target):
        super().rename(source, target)
        self.step()

    def sync_folder(self, folder):
        super().sync_folder(folder)
        self.step()

    def remove(self, path):
        super().remove(path)
        self.step()


def die(folder, limit, step):
    """Return what a child that dies at a step has acknowledged, and whether it died."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with Store(GEOMETRY, 2, 1, folder, limit, disk=Dying(step), queue_pages=2) as store:
            for key in range(PAGES):
                store.put([key], [page_of(key)])
                if key % 3 == 2:
                    store.flush()
                os.write(writing, bytes([store.durable(range(PAGES))]))
            store.flush()
            os.write(writing, bytes([store.durable(range(PAGES))]))
        os._exit(0)
    os.close(writing)
    status = os.waitpid(child, 0)[1]
    acknowledged = os.read(reading, 1000)
    os.close(reading)
    assert status == 0 or os.WTERMSIG(status) == signal.SIGKILL, status
    return max(acknowledged, default=0), status != 0


def die_everywhere(folder, limit):
    step, died = 0, True
    while died:
        step += 1
        home = Path(folder) / str(step)
        acknowledged, died = die(home, limit, step)
        with Store(GEOMETRY, PAGES, folder=home, file_pages=limit) as store:
            if limit is None:
                assert store.match(range(PAGES)) >= acknowledged, (step, acknowledged)
            served = served_right(store, range(PAGES))
            assert served >= (acknowledged if limit is None else 0), (step, served, acknowledged)
            assert store.stats.damaged == 0, "a kill leaves no damaged page behind, only unfinished ones"
            store.check()
        assert not list(home.glob("*.tmp"))
    print(step)


def limited(folder):
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (GEOMETRY.row_bytes, GEOMETRY.row_bytes))
    try:
        with Store(GEOMETRY, 8, folder=folder) as store:
            store.put(range(3), [page_of(key) for key in range(3)])
            try:
                store.flush()
            except StoreError as error:
                print(type(error).__name__, error)
            print(store.durable(range(3)), served_right(store, range(3)))
    except StoreError:
        print("closed")


if __name__ == "__main__":
    verb, folder, *rest = sys.argv[1:]
    if verb == "write":
        write_often(folder)
    elif verb == "die":
        die_everywhere(folder, int(rest[0]) if rest else None)
    else:
        limited(folder)
