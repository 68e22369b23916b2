"""A killed process and a power cut: what was acknowledged is there, and nothing wrong is ever served."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cache.store_pages import GEOMETRY, MANY, page_of, served_right

from costlab.cache.store import FolderInUse, Store, disk

CHILD = Path(__file__).with_name("store_child.py")
posix = pytest.mark.skipif(os.name != "posix", reason="signals and forks of POSIX")


def start(*words):
    command = [sys.executable, str(CHILD), *map(str, words)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def writer(child, seed):
    """Have a process write, and return its number."""
    child.stdin.write(f"{seed}\n")
    child.stdin.flush()
    word, number = child.stdout.readline().split()
    assert word == "process"
    return int(number)


@posix
def test_killed_at_random_moments_nothing_acknowledged_is_lost(tmp_path):
    """Six times on the same folder: each opening finds what the last kill left."""
    rng = random.Random(0)
    kept = 0
    with start("write", tmp_path) as child:
        for round_ in range(6):
            number = writer(child, round_)
            lines = [child.stdout.readline() for _ in range(rng.randint(1, 25))]
            time.sleep(rng.random() * 0.01)
            os.kill(number, signal.SIGKILL)
            while (line := child.stdout.readline()) != "\n":
                assert line, "the writer ended by itself"
                lines.append(line)
            acknowledged = max([kept, *(int(line) for line in lines)])
            with Store(GEOMETRY, 8, folder=tmp_path) as store:
                kept = store.match(range(MANY))
                assert kept >= acknowledged
                assert served_right(store, range(kept)) == kept
                assert store.stats.damaged == 0
                store.check()
        child.stdin.close()
    assert child.returncode == 0
    assert 30 < kept < MANY


@posix
@pytest.mark.parametrize("limit", [(), (3,)], ids=["unlimited", "with evictions"])
def test_killed_at_every_step_of_writing(tmp_path, limit):
    child = start("die", tmp_path, *limit)
    out, _ = child.communicate(timeout=600)
    assert child.returncode == 0
    assert int(out) > 25


def test_the_lock_of_a_dead_process_does_not_block_and_that_of_a_living_one_does(tmp_path):
    child = start("write", tmp_path)
    number = writer(child, 0)
    child.stdout.readline()
    with pytest.raises(FolderInUse, match=rf"{tmp_path}.*process {number}"):
        Store(GEOMETRY, 1, folder=tmp_path)
    os.kill(number, signal.SIGKILL)
    child.communicate()
    assert (tmp_path / "lock").exists()
    Store(GEOMETRY, 1, folder=tmp_path).close()


# --- power cuts: what was not synced may be lost or torn -----------------------------------------------------------


class Log:
    """What the store asked of the system, in order, and the content of each file when it got its name."""

    def __init__(self, monkeypatch):
        self.events, self.contents = [], {}
        fsync, replace, unlink = os.fsync, os.replace, os.unlink

        def note_fsync(handle):
            fsync(handle)
            self.events.append(("fsync", os.fstat(handle).st_ino))

        def note_replace(source, target):
            number = os.stat(source).st_ino
            self.contents[number] = source.read_bytes()
            replace(source, target)
            self.events.append(("name", target.name, number))

        def note_unlink(path):
            unlink(path)
            self.events.append(("unname", path.name, None))

        monkeypatch.setattr(disk.os, "fsync", note_fsync)
        monkeypatch.setattr(disk.os, "replace", note_replace)
        monkeypatch.setattr(disk.os, "unlink", note_unlink)

    def cut(self, moment, folder, home, rng):
        """Lay out in a folder what a power cut may leave; return how many keys had been acknowledged."""
        names, unsynced, synced, acknowledged = {}, [], set(), 0
        for what, *details in self.events[:moment]:
            if what == "fsync" and details[0] == home:
                names.update(unsynced)
                unsynced = []
            elif what == "fsync":
                synced.add(details[0])
            elif what == "ack":
                acknowledged = details[0]
            else:
                unsynced.append(tuple(details))
        names.update(change for change in unsynced if rng.random() < 0.5)
        folder.mkdir()
        for name, number in names.items():
            if number is not None:
                whole = self.contents[number]
                (folder / name).write_bytes(whole if number in synced else torn(whole, rng))
        (folder / "left.tmp").write_bytes(b"half")
        return acknowledged


def torn(content, rng):
    kept = rng.randrange(len(content))
    return content[:kept] + bytes(rng.choice([0, len(content) - kept]))


def logged(folder, monkeypatch, keys=9):
    log = Log(monkeypatch)
    with Store(GEOMETRY, 4, folder=folder, queue_pages=3) as store:
        for key in range(keys):
            store.put([key], [page_of(key)])
            if key % 4 == 3:
                store.flush()
            log.events.append(("ack", store.durable(range(keys))))
        store.flush()
        log.events.append(("ack", store.durable(range(keys))))
    monkeypatch.undo()
    return log


@posix
def test_a_power_cut_loses_nothing_acknowledged(tmp_path, monkeypatch):
    home = tmp_path / "home"
    log = logged(home, monkeypatch)
    assert log.events[-1] == ("ack", 9)
    rng = random.Random(1)
    for moment in range(len(log.events) + 1):
        left = tmp_path / f"cut{moment}"
        acknowledged = log.cut(moment, left, home.stat().st_ino, rng)
        with Store(GEOMETRY, 9, folder=left) as store:
            assert store.match(range(9)) >= acknowledged
            served_right(store, range(9))
            assert served_right(store, range(acknowledged)) == acknowledged


@posix
@pytest.mark.parametrize("forgotten", ["fsync", "replace"])
def test_the_power_cut_would_find_a_missing_sync(tmp_path, monkeypatch, forgotten):
    """The test above can fail: without the files' syncs, or without the folder's, something acknowledged is lost."""
    home = tmp_path / "home"
    log = logged(home, monkeypatch)
    number = home.stat().st_ino
    log.events = [e for e in log.events if e[0] != "fsync" or (e[1] == number) == (forgotten == "fsync")]
    left = tmp_path / "cut"
    acknowledged = log.cut(len(log.events), left, number, random.Random(1))
    with Store(GEOMETRY, 9, folder=left) as store:
        assert served_right(store, range(9)) < acknowledged


def test_pages_are_synced_before_they_are_named_and_named_before_they_count(tmp_path, monkeypatch):
    log = logged(tmp_path, monkeypatch, keys=1)
    kinds = [event[0] for event in log.events if event[0] != "ack"]
    record = ["fsync", "name", "fsync"]  # store.json, then the page: its content, its name, the folder
    assert kinds == record * 2


def test_a_kill_during_eviction_keeps_the_accounts(tmp_path):
    with Store(GEOMETRY, 2, folder=tmp_path, file_pages=5) as store:
        store.put(range(30), [page_of(key) for key in range(30)])
        store.flush()
        store.check()
        assert len(list(tmp_path.glob("*.page"))) == store.pages["files"] == 5
        assert np.all([store.durable([key]) for key in range(25, 30)])
