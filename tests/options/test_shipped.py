"""Option files by name: shipped ones are found from any folder, real files come first, unknown names get hints."""

from __future__ import annotations

from pathlib import Path

import pytest

from basicsr.options import load_options
from basicsr.options.shipped import find_option_file
from basicsr.utils.errors import OptionError
from basicsr.utils.installation import NETWORK_FILES
from tests.helpers.project import ROOT

OPTIONS = ROOT / 'options'


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize('suffix', ['', '.yml'])
@pytest.mark.parametrize(
    ('name', 'phase', 'file'),
    [
        ('GoPro/SAMDeblur', 'train', 'train/GoPro/SAMDeblur.yml'),
        ('GoPro/SAMDeblur', 'test', 'test/GoPro/SAMDeblur.yml'),
        ('train/GoPro/SAMDeblur', 'test', 'train/GoPro/SAMDeblur.yml'),
        ('options/test/GoPro/SAMDeblur', None, 'test/GoPro/SAMDeblur.yml'),
        ('Photos/UNet', None, 'train/Photos/UNet.yml'),
        ('Photos/UNet', 'test', 'train/Photos/UNet.yml'),
        ('GoPro', 'test', 'test/GoPro.yml'),
    ],
)
def test_names(name, phase, file, suffix):
    assert find_option_file(f'{name}{suffix}', phase) == OPTIONS / file


def test_real_files_come_first(elsewhere):
    own = elsewhere / 'GoPro' / 'SAMDeblur.yml'
    own.parent.mkdir()
    own.write_text('name: own\n')
    for name in ('GoPro/SAMDeblur', 'GoPro/SAMDeblur.yml', str(own)):
        assert find_option_file(name, 'train').samefile(own)


@pytest.mark.parametrize(
    ('name', 'nearest'),
    [
        ('GoPro/SAMDebluur.yml', 'GoPro/SAMDeblur'),
        ('gopro/nafnet', 'GoPro/NAFNet'),
        ('options/train/Photos/Unet2.yml', 'Photos/UNet'),
    ],
)
def test_unknown_names_get_the_nearest(name, nearest):
    with pytest.raises(OptionError) as caught:
        find_option_file(name)
    assert caught.value.problems[0].startswith(f'{name}: ') and nearest in caught.value.problems[0]


def test_a_name_of_two_files_is_not_guessed():
    with pytest.raises(OptionError, match=r'train/GoPro/MAP .*test/GoPro/MAP'):
        find_option_file('GoPro/MAP')


def test_own_files_build_on_shipped_ones(elsewhere):
    (elsewhere / 'own.yml').write_text('_base_: train/GoPro/NAFNet\nname: own\n')
    options = load_options('own')
    assert options.name == 'own'
    assert options.network_g == load_options('GoPro/NAFNet', phase='train').network_g
    (elsewhere / 'own.yml').write_text('name: own\n_base_: GoPro/NAFNet\n')
    with pytest.raises(OptionError, match=r'own\.yml:2: _base_: .* train/GoPro/NAFNet .*test/GoPro/NAFNet'):
        load_options('own')


def test_the_bundled_network_is_found_from_any_folder(elsewhere):
    path = 'experiments/pretrained_models/photo_unet.safetensors'
    load = lambda: load_options('Pretrained/REDS').path.pretrain_network_g  # noqa: E731
    assert load() == str(NETWORK_FILES / 'photo_unet.safetensors')
    (elsewhere / path).parent.mkdir(parents=True)
    (elsewhere / path).touch()
    assert load() == path
