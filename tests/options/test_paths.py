"""Paths in option files: what expands when they are read, and what is missing when something is run."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pydantic
import pytest

from basicsr.options import Options, load_options
from basicsr.preflight import check_paths
from basicsr.utils.errors import OptionError
from tests.helpers.problems import unexpected

TEXT = """\
name: small
network_g: {type: NAFNet}
datasets:
  train:
    name: pairs
    type: PairedImageDataset
    dataroot_gt: gt
    dataroot_lq: lq
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small valid option file."""
    path = tmp_path / 'x.yml'
    path.write_text(TEXT)
    return path


def test_home_and_variables_expand(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv('HOME', '/home/me')
    monkeypatch.setenv('SETS', str(tmp_path))
    force = [
        'type=PairedImageGroupMaskDataset',
        'dataroot_gt=~/gt',
        'dataroot_lq=$SETS/lq',
        'dataroot_mask=${SETS}_x/m',
        'meta_info_file=~/a$b~',
    ]
    monkeypatch.setenv('b', 'B')
    options = load_options(file, [f'datasets:train:{text}' for text in force] + ['path:resume_state=$SETS/1.state'])
    train = SimpleNamespace(**options.datasets['train'].arguments)
    assert (train.dataroot_gt, train.dataroot_lq) == ('/home/me/gt', f'{tmp_path}/lq')
    assert (train.dataroot_mask, train.meta_info_file) == (f'{tmp_path}_x/m', '/home/me/aB~')
    assert options.path.resume_state == f'{tmp_path}/1.state'


def test_undefined_variables_are_named(file: Path) -> None:
    file.write_text(TEXT.replace(': gt', ': ${NO_SUCH_VARIABLE}/gt').replace(': lq', ': ~nobody-here/lq'))
    with pytest.raises(OptionError) as caught:
        load_options(file, ['path:pretrain_network_g=$NO_SUCH_FILE'])
    patterns = [
        r'.*x\.yml:7: datasets\.train\.dataroot_gt: .*NO_SUCH_VARIABLE',
        r'.*x\.yml:8: datasets\.train\.dataroot_lq: .*~nobody-here',
        r"--force_yml 'path:pretrain_network_g=\$NO_SUCH_FILE': path\.pretrain_network_g: "
        '.*NO_SUCH_FILE',
    ]
    assert not unexpected(caught.value.problems, patterns)


def test_missing_paths_are_reported_together(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'lq').mkdir()
    options = load_options(file, ['path:pretrain_network_g=lq', 'datasets:train:meta_info_file=/none.txt'])
    with pytest.raises(OptionError) as caught:
        check_paths(options)
    patterns = [
        rf'{file}:7: datasets\.train\.dataroot_gt: .* gt .*{tmp_path}',
        r"--force_yml '.*=/none\.txt': datasets\.train\.meta_info_file: .* /none\.txt",
        rf"--force_yml 'path:pretrain_network_g=lq': path\.pretrain_network_g: .* lq .*{tmp_path}",
    ]
    assert not unexpected(caught.value.problems, patterns)
    (tmp_path / 'gt').mkdir()
    check_paths(load_options(file))


def test_options_made_in_code_are_checked_too() -> None:
    data = {'type': 'PairedImageDataset', 'name': 'x', 'dataroot_gt': 'gt', 'dataroot_lq': 'lq'}
    options = Options.model_validate({'name': 'x', 'network_g': {'type': 'NAFNet'}, 'datasets': {'test': data}})
    assert options.position('name') is None
    with pytest.raises(OptionError, match=re.compile(r'^datasets\.test\.dataroot_gt: .* gt\b', re.MULTILINE)):
        check_paths(options)
    with pytest.raises(pydantic.ValidationError, match=r"widt.*'width'"):
        Options.model_validate({'name': 'x', 'network_g': {'type': 'NAFNet', 'widt': 3}, 'datasets': {'test': data}})
