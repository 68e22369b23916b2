"""A disk that forgets what nobody has synced."""

import pytest

from costlab.lab.disks import ForgetfulDisk


def test_a_cut_leaves_what_was_synced_and_no_more() -> None:
    """A synced content under a synced name is left by every cut, an unsynced one also in parts, a rename whole."""
    disk = ForgetfulDisk()
    disk.write("a", b"old!")
    disk.sync_all()
    assert [each.read("a") for each in disk.cuts()] == [b"old!"]
    disk.write("b", b"new!")
    disk.sync("b")
    assert {each.read("b") for each in disk.cuts()} == {None, b"new!"}
    disk.rename("b", "a")
    assert {each.read("a") for each in disk.cuts()} == {b"old!", b"new!"}
    disk.sync_folder()
    disk.write("a", b"over")
    assert {each.read("a") for each in disk.cuts()} == {b"new!", b"", b"ov", bytes(4), b"over"}
    assert [each.names() for each in disk.during(lambda copy: copy.remove("a"))][-1] == []
    assert disk.read("a") == b"over"
    with pytest.raises(FileNotFoundError, match="'c'"):
        disk.sync("c")
    with pytest.raises(TypeError, match="str"):
        disk.write("a", "text")  # type: ignore[arg-type]
