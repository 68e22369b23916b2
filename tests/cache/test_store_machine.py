"""Any sequence of calls, openings, damages and failures, against a set of keys: no wrong page, no lost promise."""

import errno
import shutil
import tempfile
import time
from contextlib import ExitStack

import numpy as np
import pytest
from cache.store_pages import GEOMETRY, is_right, page_of
from effort import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from costlab.cache.store import Disk, Store, StoreError

keys = st.integers(0, 11)


class Moody(Disk):
    broken = False

    def write(self, path, parts):
        if self.broken:
            path.write_bytes(bytes(parts[0]))
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(path, parts)


class Machine(RuleBasedStateMachine):
    """`put` are the keys that were put since they were last known lost; `promised` those in undamaged files."""

    borrowed = Bundle("borrowed")

    def __init__(self):
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.disk = Moody()
        self.put_keys, self.promised = set(), set()
        self.open("through", 2, 1)

    def open(self, write, memory, ram):
        self.store = Store(GEOMETRY, memory, ram, self.folder, write=write, queue_pages=2, disk=self.disk)

    @rule(some=st.lists(keys, max_size=5, unique=True))
    def put(self, some):
        new = self.store.put(some, [page_of(key) for key in some])
        assert new <= len(some)
        self.put_keys |= set(some)

    @rule(some=st.lists(keys, max_size=8))
    def load(self, some):
        pages = self.store.load(some)
        assert all(is_right(key, page) for key, page in zip(some, pages, strict=False))
        assert set(some[: len(pages)]) <= self.put_keys
        assert len(pages) == len(some) or some[len(pages)] not in self.promised

    @rule(some=st.lists(keys, max_size=8))
    def match(self, some):
        count = self.store.match(some)
        assert set(some[:count]) <= self.put_keys
        assert count == len(some) or some[count] not in self.promised

    @rule(target=borrowed, some=st.lists(keys, max_size=3))
    def borrow(self, some):
        stack = ExitStack()
        return some, stack.enter_context(self.store.borrow(some)), stack

    @rule(held=consumes(borrowed))
    def give_back(self, held):
        some, pages, stack = held
        assert all(is_right(key, page) for key, page in zip(some, pages, strict=False))
        stack.close()

    @rule()
    def flush(self):
        held = {key for key in range(12) if self.store.match([key])}
        if self.disk.broken and any(not self.store.durable([key]) for key in held):
            with pytest.raises(StoreError):
                self.store.flush()
        else:
            self.store.flush()
            assert self.store.error is None
            assert all(self.store.durable([key]) for key in held)

    @rule(key=keys, place=st.floats(0, 0.999), flip=st.integers(1, 255))
    def damage(self, key, place, flip):
        path = self.store._files.path(b"i%d" % key)
        if path.exists():
            content = bytearray(path.read_bytes())
            content[int(place * len(content))] ^= flip
            path.write_bytes(content)
            self.promised.discard(key)

    def settle(self, broken):
        """Change the disk's mood between writes: one that has begun would end as it began."""
        while self.store._writer.pending:
            time.sleep(0.001)
        self.disk.broken = broken

    @rule()
    def break_disk(self):
        self.settle(broken=True)

    @rule()
    def mend_disk(self):
        self.settle(broken=False)

    @rule(write=st.sampled_from(["through", "back"]), memory=st.integers(1, 3), ram=st.integers(0, 2))
    def reopen(self, write, memory, ram):
        before = {key for key in range(12) if self.store.durable([key])}
        self.settle(broken=False)
        self.store.close()
        self.open(write, memory, ram)
        assert self.promised <= {key for key in range(12) if self.store.durable([key])}
        assert self.promised <= before

    @invariant()
    def accounts(self):
        self.store.check()
        self.promised |= {key for key in range(12) if self.store.durable([key]) and not self.damaged(key)}

    def damaged(self, key):
        try:
            self.store._files.read(b"i%d" % key, np.zeros(GEOMETRY.row_bytes, np.uint8))
        except Exception:
            return True
        return False

    def teardown(self):
        self.settle(broken=False)
        self.store.close()
        shutil.rmtree(self.folder)


Machine.TestCase.settings = settings(max_examples=examples(40), stateful_step_count=30)
TestMachine = Machine.TestCase
