"""Full and read-only disks: errors that name the folder and help, pages still served, nothing promised falsely."""

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cache.store_pages import GEOMETRY, is_right, page_of, served_right

from costlab.cache.store import Disk, DiskFull, ReadOnly, Store, StoreError
from costlab.cache.store.store import WriteBack

CHILD = Path(__file__).with_name("store_child.py")


class Failing(Disk):
    """Fails in one call, with one error, while `on`; `after` lets some calls through first."""

    def __init__(self, call, number, after=0):
        self.on, self.number, self.after = True, number, after
        setattr(self, call, self.fail_or(getattr(self, call)))

    def fail_or(self, call):
        def wrapped(*args):
            if self.on and self.after <= 0:
                raise OSError(self.number, os.strerror(self.number))
            self.after -= self.on
            return call(*args)

        return wrapped


def opened(folder, disk, **sizes):
    disk.on = False
    store = Store(GEOMETRY, 8, folder=folder, disk=disk, **sizes)
    disk.on = True
    return store


@pytest.mark.parametrize("call", ["write", "rename", "sync_folder"])
@pytest.mark.parametrize(
    ("number", "kind", "helps"),
    [
        (
            errno.ENOSPC,
            DiskFull,
            "No space left on device; free some space or open the store with a smaller file_pages",
        ),
        (errno.EROFS, ReadOnly, "Read-only file system; mount it writable, choose another folder"),
        (errno.EACCES, ReadOnly, "Permission denied; make it writable"),
        (errno.EIO, StoreError, "Input/output error; choose another folder"),
    ],
)
def test_a_failed_write_is_told_by_flush_and_memory_goes_on(tmp_path, call, number, kind, helps):
    disk = Failing(call, number)
    store = opened(tmp_path, disk)
    store.put(range(4), [page_of(key) for key in range(4)])
    with pytest.raises(kind, match=f"{tmp_path}.*{helps}") as caught:
        store.flush()
    assert caught.value.errno == number
    assert type(store.error) is kind
    assert store.durable(range(4)) == 0
    assert served_right(store, range(4)) == 4
    store.check()
    assert list(tmp_path.glob("*.page")) == list(tmp_path.glob("*.tmp")) == []
    disk.on = False  # somebody has helped
    store.flush()
    assert store.error is None
    assert store.durable(range(4)) == 4
    store.close()


def test_pages_before_the_disk_is_full_are_kept(tmp_path):
    store = opened(tmp_path, Failing("write", errno.ENOSPC, after=2), queue_pages=8)
    store.put(range(4), [page_of(key) for key in range(4)])
    with pytest.raises(DiskFull):
        store.close()
    with Store(GEOMETRY, 8, folder=tmp_path) as store:
        assert store.match(range(4)) == served_right(store, range(4)) == 2


def test_with_a_full_disk_memory_turns_over_and_losses_are_counted(tmp_path):
    for write in ("through", "back"):
        store = opened(tmp_path, Failing("write", errno.ENOSPC), ram_pages=2, write=write)
        store.put(range(30), [page_of(key) for key in range(30)])
        assert served_right(store, range(30)) == 10
        assert store.stats.lost == 20
        assert store.stats.written == 0
        store.check()
        with pytest.raises(DiskFull):
            store.close()
        with pytest.raises(ValueError, match="closed"):
            store.match([1])


def test_an_error_inside_the_with_block_is_not_hidden_by_closing(tmp_path):
    with pytest.raises(KeyError), opened(tmp_path, Failing("write", errno.ENOSPC)) as store:
        store.put([0], [page_of(0)])
        raise KeyError


class ToDevFull(Disk):
    """Writes where the kernel itself says that there is no space."""

    on = False

    def write(self, path, parts):
        super().write(Path("/dev/full") if self.on else path, parts)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_no_space_from_the_kernel(tmp_path):
    store = opened(tmp_path, ToDevFull())
    store.put([0], [page_of(0)])
    with pytest.raises(DiskFull, match=f"{tmp_path}.*free some space"):
        store.flush()
    assert served_right(store, [0]) == 1
    with pytest.raises(DiskFull):
        store.close()


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
def test_a_real_limit_on_file_sizes(tmp_path):
    """A process whose files may not be as long as a page: told what to raise, served from memory, nothing promised."""
    done = subprocess.run([sys.executable, str(CHILD), "limit", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told, counts, closed = done.stdout.splitlines()
    assert told.startswith("DiskFull")
    assert str(tmp_path) in told
    assert "ulimit -f" in told
    assert (counts, closed) == ("0 3", "closed")
    with Store(GEOMETRY, 1, folder=tmp_path) as store:
        assert store.match(range(3)) == 0


def test_a_folder_that_cannot_be_written_is_refused_at_opening(tmp_path):
    """As root, rights bind nobody: there the kernel's own folders must do."""
    tmp_path.chmod(0o500)
    folder = Path("/sys/kernel") if os.geteuid() == 0 else tmp_path
    try:
        with pytest.raises(StoreError, match=f"cannot open '{folder}/pages'.*folder=None") as caught:
            Store(GEOMETRY, 1, folder=folder / "pages")
        assert isinstance(caught.value, ReadOnly)
    finally:
        tmp_path.chmod(0o700)


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match=str(folder)):
            Store(GEOMETRY, 1, folder=folder)


def test_a_disk_that_stops_being_writable_while_opening_leaves_no_lock(tmp_path):
    with pytest.raises(ReadOnly, match=str(tmp_path)):
        Store(GEOMETRY, 1, folder=tmp_path, disk=Failing("write", errno.EROFS))
    Store(GEOMETRY, 1, folder=tmp_path).close()


class Slow(Disk):
    """Holds every write until it is let go."""

    def __init__(self):
        self.gate = threading.Event()

    def write(self, path, parts):
        if path.name != "store.json.tmp":
            assert self.gate.wait(600)
        super().write(path, parts)


def is_in(thread, function):
    """Whether a thread is inside a function of that name just now."""
    frame = sys._current_frames().get(thread.ident)
    while frame is not None and frame.f_code.co_name != function:
        frame = frame.f_back
    return frame is not None


def test_a_slow_disk_holds_writers_back(tmp_path):
    """With room for 2 in the queue and 2 being saved, the fifth page waits, and more never pile up."""
    disk = Slow()
    with Store(GEOMETRY, 100, folder=tmp_path, queue_pages=2, disk=disk) as store:
        done = []
        writer = threading.Thread(target=lambda: [done.append(store.put([k], [page_of(k)])) for k in range(20)])
        writer.start()
        while writer.is_alive() and not (is_in(writer, "wait_for_room") and len(store._writer._queue) == 2):
            time.sleep(0.001)
        assert writer.is_alive()
        assert len(done) <= 4
        assert served_right(store, range(len(done))) == len(done), "readers need not wait"
        store.check()
        disk.gate.set()
        writer.join(600)
        assert len(done) == 20
        store.flush()
        assert store.durable(range(20)) == 20
        assert store.stats.waited_s > 0


def test_who_waited_for_the_disk_looks_again_before_dropping_a_page(tmp_path):
    """While page 3 waits for page 0 to be saved, somebody takes up page 1, which had been the next to go."""
    disk = Slow()
    disk.gate.set()
    errors = []
    with Store(GEOMETRY, 2, 1, tmp_path, write="back", disk=disk) as store:

        def put(key):
            try:
                store.put([key], [page_of(key)])
            except BaseException as error:
                errors.append(error)

        put(1)
        store.flush()
        disk.gate.clear()
        put(0)
        assert served_right(store, [1]) == 1
        put(2)  # now 1 and 2 stand in memory and 0 in RAM; only 1 has a file
        waiting = threading.Thread(target=put, args=(3,))
        waiting.start()
        while not store._writer.pending:
            time.sleep(0.001)
        with store.borrow([0]), store.borrow([1]) as (page,):
            disk.gate.set()
            waiting.join(600)
            assert not waiting.is_alive()
            assert errors == []
            assert is_right(1, page)
        store.check()
        assert served_right(store, range(4)) == 4


def test_an_unexpected_error_in_the_thread_does_not_leave_others_waiting(tmp_path):
    class Strange(Disk):
        on = False

        def write(self, path, parts):
            if self.on:
                raise RuntimeError("strange")
            super().write(path, parts)

    store = opened(tmp_path, Strange())
    store.put(range(3), [page_of(key) for key in range(3)])
    with pytest.raises(StoreError, match="strange"):
        store.close()


def test_the_queue_counts_itself():
    changed = threading.Condition()
    saved = []
    queue = WriteBack(saved.extend, 2, 2, changed)
    with changed:
        for key in (b"a", b"b", b"c"):
            queue.wait_for_room()
            queue.add(key)
            queue.check()
        queue.end()
    queue.join()
    assert saved == [b"a", b"b", b"c"]
    assert queue.pending == 0
