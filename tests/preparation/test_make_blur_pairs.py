"""scripts/make_blur_pairs.py: pairs from photos, frames and videos; a run that was cut off; bad input."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from basicsr.data import build_dataset
from basicsr.images.files import imread
from basicsr.preparation.blur_pairs import counts_of
from basicsr.preparation.blur_sources import frames_of_video, is_clip, sort_inputs
from basicsr.utils.errors import ArgumentError, DataError, ImageFileError
from tests.helpers.project import ROOT, require
from tests.helpers.scenes import scene, write_images
from tests.helpers.videos import TURNED, flat, make


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / 'scripts/make_blur_pairs.py'), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / 'pairs.csv').open(newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope='module')
def sources(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('sources')
    write_images(folder / 'photos', {f'IMG_{n:04d}': scene(150, 200, n) for n in range(2)})  # numbered, yet no clip
    large = scene(240, 320, 7)
    write_images(folder / 'walk', {f'walk_{n:02d}': large[20:180, 4 * n : 4 * n + 220] for n in range(3)})
    return folder


def write_video(path: Path, frames: int) -> None:
    large = scene(240, 320, 9)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 25, (224, 160))
    for n in range(frames):
        writer.write(np.ascontiguousarray(large[20:180, 4 * n : 4 * n + 224, ::-1]))
    writer.release()


@pytest.mark.slow
def test_pairs_of_all_kinds_and_a_run_that_was_cut_off(sources, tmp_path):
    write_video(tmp_path / 'street.avi', 5)
    inputs = ['-i', sources / 'photos', sources / 'walk', tmp_path / 'street.avi', '--frames', 2]
    plan = [*inputs, '-o', 'pairs', '--pairs', 12, '--crop', 64, '--masks', '--workers', 0]
    done = run(tmp_path, *plan)
    assert done.returncode == 0, done.stderr
    rows = table(tmp_path / 'pairs')
    kinds = [row['kind'] for row in rows]
    assert {kind: kinds.count(kind) for kind in kinds} == {'kernel': 1, 'motion': 4, 'shake': 5, 'sharp': 2}
    assert len(list((tmp_path / 'pairs/frames/street').iterdir())) in (3, 4)  # two pairs of neighbours
    for row in rows:
        lq, gt = (cv2.imread(str(tmp_path / 'pairs' / part / f'{row["name"]}.png')) for part in ('blur', 'sharp'))
        assert lq.shape == gt.shape == (64, 64, 3)
        error = np.square(lq.astype(float) - gt).mean()
        expected = np.inf if error == 0 else 10 * np.log10(255**2 / error)
        assert float(row['psnr']) == pytest.approx(expected, abs=1e-3)
        assert (error == 0) >= (row['kind'] == 'sharp')
        assert (tmp_path / 'pairs/masks' / f'{row["name"]}.png').is_file()
    assert (tmp_path / 'pairs/pairs.jpg').stat().st_size > 1000
    assert (tmp_path / 'pairs/shake.txt').read_text().split() == [f'shake_{n:06d}.png' for n in range(5)]

    files = {path: path.read_bytes() for path in (tmp_path / 'pairs').rglob('*.png')}
    for name in ('blur/motion_000002.png', 'sharp/shake_000000.png'):
        (tmp_path / 'pairs' / name).unlink()
    lines = (tmp_path / 'pairs/pairs.csv').read_text().splitlines(keepends=True)
    (tmp_path / 'pairs/pairs.csv').write_text(''.join(lines[:5]) + lines[5][:9])  # the last line is cut off
    assert run(tmp_path, *plan[:-1], 2).returncode == 0  # other numbers of processes make the same pairs
    assert {path: path.read_bytes() for path in (tmp_path / 'pairs').rglob('*.png')} == files
    assert table(tmp_path / 'pairs') == rows

    other = run(tmp_path, *plan, '--seed', 1)
    assert other.returncode == 1
    assert 'seed' in other.stderr
    block = {'dataroot_gt': 'sharp', 'dataroot_lq': 'blur', 'meta_info_file': 'shake.txt'}
    paths = {key: str(tmp_path / 'pairs' / value) for key, value in block.items()}
    assert len(build_dataset({'type': 'PairedImageDataset', 'pairing': 'list', **paths})) == 5


@pytest.mark.slow
def test_whole_images_a_quarter_of_them_reduced(tmp_path):
    write_images(tmp_path / 'photos', {f'{n}': scene(500, 640, n) for n in range(2)})
    done = run(tmp_path, '-i', 'photos', '-o', 'val', '--whole', '--reduced', 0.25, '--pairs', 4,
               '--kinds', 'shake=1', '--workers', 0)  # fmt: skip
    assert done.returncode == 0, done.stderr
    sizes = [(int(row['height']), int(row['width'])) for row in table(tmp_path / 'val')]
    assert sizes.count((180, 320)) == 1
    assert all(480 <= height <= 500 and height < width for height, width in sizes if height != 180)
    assert json.loads((tmp_path / 'val/pairs.json').read_text())['kinds'] == {'shake': 4}


def test_folders_are_told_apart(sources, tmp_path):
    assert is_clip(sources / 'walk')
    assert not is_clip(sources / 'photos')
    found = sort_inputs([str(sources / 'photos'), str(sources / 'walk')], [], [], tmp_path, 10)
    assert found == ([str(sources / 'photos')], [str(sources / 'walk')])
    photos = sort_inputs([], [str(sources / 'walk')], [str(sources / 'photos')], tmp_path, 10)
    assert photos == ([str(sources / 'walk')], [str(sources / 'photos')])


def test_bad_sources(tmp_path):
    with pytest.raises(ArgumentError):
        sort_inputs([], [], [], tmp_path, 10)
    with pytest.raises(DataError, match='nowhere: '):
        sort_inputs(['nowhere'], [], [], tmp_path, 10)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match='empty: '):
        sort_inputs([str(tmp_path / 'empty')], [], [], tmp_path, 10)
    write_video(tmp_path / 'one.avi', 1)
    (tmp_path / 'junk.mp4').write_bytes(b'junk' * 100)
    with pytest.raises(DataError, match=r'one\.avi: 1 '):
        sort_inputs([str(tmp_path / 'one.avi')], [], [], tmp_path / 'frames', 10)
    with pytest.raises(ImageFileError, match=r'junk\.mp4'):
        sort_inputs([str(tmp_path / 'junk.mp4')], [], [], tmp_path / 'frames', 10)
    assert not list((tmp_path / 'frames').glob('*'))


def test_frames_have_the_colours_and_the_turn_that_players_show(tmp_path):
    require('av')
    red, blue = (200, 20, 30), (20, 40, 210)
    options = {'size': (720, 1280), 'times': 2, 'colours': (1, 1, 1, 1), 'display': TURNED['90']}
    make(tmp_path / 'phone.mp4', frame=flat([red, blue], 'bt709'), **options)
    folder = frames_of_video(tmp_path / 'phone.mp4', tmp_path / 'frames', 5)
    frames = [imread(path).astype(int) for path in sorted(folder.iterdir())]
    assert [frame.shape for frame in frames] == [(1280, 720, 3)] * 2
    for frame, colour in zip(frames, (red, blue), strict=True):
        assert np.abs(frame - colour).max() <= 4
    make(tmp_path / 'hdr.mkv', 'ffv1', 'yuv420p10le', colours=(9, 9, 18, 1), times=2)
    with pytest.raises(DataError, match=r'hdr\.mkv: HDR \(HLG\)'):
        frames_of_video(tmp_path / 'hdr.mkv', tmp_path / 'frames', 5)


def test_without_pyav_plain_videos_are_read_and_others_refused(tmp_path, monkeypatch):
    require('av')
    write_video(tmp_path / 'street.avi', 3)
    make(tmp_path / 'phone.mp4', colours=(1, 1, 1, 1), display=TURNED['90'])
    monkeypatch.setitem(sys.modules, 'av', None)
    assert len(list(frames_of_video(tmp_path / 'street.avi', tmp_path / 'frames', 5).iterdir())) == 3
    with pytest.raises(ImageFileError, match=r'phone\.mp4: .*PyAV'):
        frames_of_video(tmp_path / 'phone.mp4', tmp_path / 'frames', 5)


def test_counts_add_up():
    assert counts_of(120, {'shake': 2, 'motion': 2, 'kernel': 1, 'sharp': 1}) == {
        'shake': 40, 'motion': 40, 'kernel': 20, 'sharp': 20,
    }  # fmt: skip
    for total in range(1, 30):
        assert sum(counts_of(total, {'shake': 0.4, 'motion': 0.35, 'kernel': 0.1, 'sharp': 0.15}).values()) == total
    with pytest.raises(ArgumentError):
        counts_of(0, {'shake': 1})


@pytest.mark.slow
def test_command_lines_that_make_no_sense(sources, tmp_path):
    for arguments in (['--reduced', 0.5], ['--kinds', 'shake'], ['--kinds', 'blur=1'], ['--crop', 0], ['--crop', 500]):
        done = run(tmp_path, '-i', sources / 'photos', '-o', 'pairs', *arguments)
        assert done.returncode in (1, 2)
        assert 'Traceback' not in done.stderr
    assert not (tmp_path / 'pairs').exists()
