"""What is written is on the disk, under its name, when the call returns; a file is whole or not there."""

import os

import pytest

from bridge import disk


@pytest.fixture
def synced(monkeypatch):
    """Inodes that were brought to the disk, in order."""
    inodes, sync = [], os.fsync

    def fsync(handle):
        inodes.append(os.fstat(handle).st_ino)
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    return inodes


def test_a_file_comes_to_the_disk_before_its_name(tmp_path, synced):
    disk.write(tmp_path / "secret", b"kept", 0o600)
    assert (tmp_path / "secret").read_bytes() == b"kept"
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert synced == [(tmp_path / "secret").stat().st_ino, tmp_path.stat().st_ino]


def test_a_new_folder_and_those_above_it_come_to_the_disk(tmp_path, synced):
    disk.make_folder(tmp_path / "a/b")
    assert synced == [tmp_path.stat().st_ino, (tmp_path / "a").stat().st_ino]
    disk.make_folder(tmp_path / "a/b")
    assert len(synced) == 2


def test_what_could_not_be_written_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    (tmp_path / "secret").write_bytes(b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        disk.write(tmp_path / "secret", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("secret", b"old")]


def test_the_rest_of_a_write_that_was_killed_is_no_hindrance(tmp_path):
    (tmp_path / "secret.part").write_bytes(b"half")
    disk.write(tmp_path / "secret", b"whole")
    assert (tmp_path / "secret").read_bytes() == b"whole"
