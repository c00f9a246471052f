"""deblur.py --method, --kernel, --strength and their relatives."""

import cv2
import numpy as np
import pytest
import torch

from basicsr.images.files import imread
from basicsr.inference.deblurrer import Deblurrer
from basicsr.photos.jobs import Job
from basicsr.photos.runs import run_job
from basicsr.utils.errors import DataError, OptionError
from tests.helpers.deblur_commands import deblur, names
from tests.helpers.kernel_blur import blurred_scene, path_kernel


@pytest.fixture
def shaken(place):
    lq = blurred_scene(160, 170, path_kernel(), seed=1)[1]
    cv2.imwrite('shaken.png', (lq * 255).round().astype(np.uint8)[..., ::-1])
    np.save('k.npy', path_kernel())
    return place


def test_the_line_says_which_method_and_why(shaken, capsys):
    assert deblur('shaken.png', '-o', 'out', '--method', 'kernel', '--save-kernel') == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert 'shaken.png' in line and ' MiB; kernel: ' in line
    assert names('out') == ['shaken_deblurred.png', 'shaken_kernel.npy', 'shaken_kernel.png']
    assert np.load('out/shaken_kernel.npy').sum() == pytest.approx(1, abs=1e-5)


def test_a_kernel_from_a_file_and_its_convention(shaken):
    np.save('rotated.npy', path_kernel()[::-1, ::-1])
    assert deblur('shaken.png', '-o', 'a', '--kernel', 'k.npy') == 0
    assert deblur('shaken.png', '-o', 'b', '--kernel', 'rotated.npy', '--kernel-convention', 'correlation') == 0
    results = [imread(f'{folder}/shaken_deblurred.png') for folder in 'ab']
    assert np.array_equal(*results) and not np.array_equal(results[0], imread('shaken.png'))
    assert deblur('shaken.png', '-o', 'c', '--kernel', 'k.npy', '--strength', '0') == 0
    assert np.array_equal(imread('c/shaken_deblurred.png'), imread('shaken.png'))
    assert deblur('shaken.png', '-o', 'd', '--kernel', 'k.npy', '--max-side', '100') == 0
    assert imread('d/shaken_deblurred.png').shape == imread('shaken.png').shape


def test_no_kernel_is_said(shaken, capsys):
    assert deblur('photos/b.PNG', '-o', 'out', '--method', 'kernel', '--save-kernel') == 0
    assert names('out') == ['b_deblurred.PNG'] and 'photo: ' in capsys.readouterr().out
    assert np.array_equal(imread('out/b_deblurred.PNG'), imread('photos/b.PNG'))


@pytest.mark.parametrize(
    ('arguments', 'error', 'word'),
    [
        (['--kernel', 'gone.npy'], DataError, 'gone.npy'),
        (['--kernel', 'photos/notes.txt'], DataError, 'notes.txt'),
        (['--strength', '2'], OptionError, 'strength'),
        (['--scale', '0'], OptionError, 'scale'),
        (['--max-kernels', '0'], OptionError, 'max_kernels'),
    ],
)
def test_what_does_not_fit_ends_before_the_first_photo(shaken, arguments, error, word):
    with pytest.raises(error) as caught:
        deblur('shaken.png', '-o', 'out', *arguments)
    assert word in str(caught.value) and not (shaken / 'out').exists()


def test_a_kernel_larger_than_one_of_the_photos(shaken, capsys):
    np.save('large.npy', np.eye(35))
    assert deblur('shaken.png', 'photos/b.PNG', '-o', 'out', '--kernel', 'large.npy') == 1
    assert names('out') == ['shaken_deblurred.png'] and 'photos/b.PNG' in capsys.readouterr().err


def test_videos_are_not_for_kernels(tmp_path):
    deblurrer = Deblurrer(torch.nn.Identity(), device='cpu', method='kernel')
    with pytest.raises(DataError) as error:
        run_job(deblurrer, Job(tmp_path / 'a.mp4', tmp_path / 'b.mp4'))
    assert 'a.mp4' in str(error.value) and '--method' in str(error.value)
