"""Unfinished files and folders of killed processes, and of those that live."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from basicsr.utils.files import whole_file, whole_folder, whole_group, whole_path, write_whole
from basicsr.utils.temporary import hidden_path, remove_abandoned
from tests.helpers.project import ROOT

WRITER = """
import contextlib, sys, time
from pathlib import Path
from basicsr.utils.files import whole_file, whole_folder, whole_group, whole_path
folder = Path(sys.argv[1])
with contextlib.ExitStack() as stack:
    stack.enter_context(whole_file(folder / 'a.txt')).write(b'half')
    stack.enter_context(whole_path(folder / 'b.mp4')).write_bytes(b'half')
    (stack.enter_context(whole_folder(folder / 'c')) / 'x').write_bytes(b'half')
    (stack.enter_context(whole_group(folder)) / 'd.txt').write_bytes(b'half')
    print('writing', flush=True)
    time.sleep(600)
"""


def start_writer(folder: Path) -> subprocess.Popen[str]:
    """A process in the middle of writing two files, a folder and a group."""
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    writer = subprocess.Popen(
        [sys.executable, '-c', WRITER, str(folder)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == 'writing\n'
    return writer


def test_the_next_writer_removes_what_killed_ones_left_and_nothing_of_those_that_live(tmp_path):
    own = [tmp_path / name for name in ('.notes.part', '.0123456789abcdef.partial', '.0123456789abcdef', 'a.part')]
    for path in own:
        path.write_text('mine')
    killed = start_writer(tmp_path)
    left = set(tmp_path.glob('.*.part*')) - set(own)
    assert len(left) == 4 and any(path.suffix == '.mp4' for path in left)
    killed.kill()
    killed.communicate()
    assert all(path.exists() for path in left)

    living = start_writer(tmp_path)  # writes into the same folder, and cleans up first
    try:
        assert not any(path.exists() for path in left)
        unfinished = set(tmp_path.glob('.*.part*')) - set(own)
        assert len(unfinished) == 4
        write_whole(tmp_path / 'b', b'whole')
        remove_abandoned(tmp_path, alone=True)
        assert all(path.exists() for path in unfinished)
    finally:
        living.kill()
        living.communicate()
    remove_abandoned(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {'b', *(path.name for path in own)}


def test_those_of_other_computers_are_left_for_a_day(tmp_path):
    own = hidden_path(tmp_path).name
    other = f'.{"0000" if own[1:5] != "0000" else "1111"}{own[5:]}'
    for name in (own, other, f'{other}.png'):
        (tmp_path / name).write_text('half')
    folder = tmp_path / other.replace('part', 'part.raw')
    folder.mkdir()
    (folder / 'data.bin').write_text('half')
    remove_abandoned(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([other, f'{other}.png', folder.name])
    long_ago = 1e9
    for path in (tmp_path / other, folder):
        os.utime(path, (long_ago, long_ago))
    remove_abandoned(tmp_path)  # something in the folder is new
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f'{other}.png', folder.name])
    remove_abandoned(tmp_path, alone=True)
    assert list(tmp_path.iterdir()) == []


def test_links_with_such_a_name_are_not_followed(tmp_path):
    (tmp_path / 'photos').mkdir()
    (tmp_path / 'photos' / 'a.png').write_text('mine')
    link = hidden_path(tmp_path)
    link.symlink_to(tmp_path / 'photos')
    remove_abandoned(tmp_path, alone=True)
    assert link.is_symlink() and (tmp_path / 'photos' / 'a.png').is_file()


@pytest.mark.parametrize('kind', [whole_file, whole_folder])
def test_one_that_another_process_removed_before_it_was_locked_is_made_again(kind, tmp_path, monkeypatch):
    lock, removed = fcntl.flock, list[Path]()

    def removed_first(file: int, how: int) -> None:
        if not removed:
            removed.extend(tmp_path.glob('.*.part'))
            (path,) = removed
            path.rmdir() if path.is_dir() else path.unlink()
        lock(file, how)

    monkeypatch.setattr(fcntl, 'flock', removed_first)
    with kind(tmp_path / 'x') as new:
        assert len(removed) == 1
        if kind is whole_file:
            new.write(b'whole')
    assert [path.name for path in tmp_path.iterdir()] == ['x']


def test_disks_without_locks_can_be_written_to(tmp_path, monkeypatch):
    def refuse(file: int, how: int) -> None:
        raise OSError('no locks')

    monkeypatch.setattr(fcntl, 'flock', refuse)
    for path in (tmp_path / 'a', tmp_path / 'b'):
        with whole_path(path) as new:
            new.write_text('whole')
    left = hidden_path(tmp_path)
    left.write_text('half')
    remove_abandoned(tmp_path)  # it may be in use
    assert left.exists()
    with whole_group(tmp_path) as folder:
        (folder / 'c').write_text('whole')
    remove_abandoned(tmp_path, alone=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a', 'b', 'c']
