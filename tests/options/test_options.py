"""What is accepted and refused in an option file: keys, types, overrides, keys of the original."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pydantic
import pytest
import yaml

from basicsr.data import build_dataset
from basicsr.options import dump, load_options
from basicsr.options.checking import sections
from basicsr.utils.errors import OptionError
from tests.helpers.problems import unexpected

TRAIN = """\
name: small
network_g:
  type: SegNAFNetLocal
  seg_channel: 2
  enc_blk_nums: [1]
  dec_blk_nums: [1]
datasets:
  train:
    name: pairs
    type: PairedImageDataset
    dataroot_gt: gt
    dataroot_lq: lq
train:
  optim_g: {type: AdamW, lr: 1e-3}
  scheduler: {type: CosineAnnealingLR, T_max: 2e5, eta_min: 1e-7}
  pixel_opt: {type: PSNRLoss}
val:
  metrics:
    psnr: {type: psnr, crop_border: 0}
logger:
  wandb: {project: null}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small valid option file."""
    path = tmp_path / 'x.yml'
    path.write_text(TRAIN)
    return path


def edit(file: Path, *changes: tuple[str, str]) -> Path:
    text = file.read_text()
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file.write_text(text)
    return file


def problems_of(file: Path, *force: str) -> list[str]:
    with pytest.raises(OptionError) as caught:
        load_options(file, force)
    assert str(caught.value) == '\n'.join(caught.value.problems)
    return [problem.replace(f'{file.parent}/', '') for problem in caught.value.problems]


def test_values_defaults_and_positions(file: Path) -> None:
    options = load_options(file, ['train:optim_g:betas=[0.9, 0.99]', 'val:val_freq=5e3'])
    assert options.mode == 'default'
    assert options.notices == ()
    assert options.train is not None
    assert options.train.optim_g.as_dict() == {'type': 'AdamW', 'lr': 1e-3, 'betas': [0.9, 0.99]}
    assert options.train.scheduler.arguments == {'T_max': 200000, 'eta_min': 1e-7}
    assert type(options.train.scheduler.arguments['T_max']) is int
    assert (options.val.val_freq, type(options.val.val_freq)) == (5000, int)
    assert options.train.perceptual_opt is None
    assert options.datasets['train'].batch_size_per_gpu == 32
    assert options.path.param_key == 'params'
    assert options.source == file
    assert str(options.position('train.scheduler.eta_min')) == f'{file}:15'
    assert str(options.position('train.total_iter')) == f'{file}:13'
    assert str(options.position('val.val_freq')) == "--force_yml 'val:val_freq=5e3'"


def test_options_do_not_change(file: Path) -> None:
    options = load_options(file)
    with pytest.raises(pydantic.ValidationError):
        options.name = 'other'
    options.network_g.arguments['width'] = 99
    options.as_dict()['network_g']['seg_channel'] = 99
    assert options.network_g.arguments == {'seg_channel': 2, 'enc_blk_nums': [1], 'dec_blk_nums': [1]}


@pytest.mark.parametrize('mark', ['_delete_: true, ', '_delete_: false, ', ''])
def test_a_block_from_the_command_line_replaces_that_of_the_file(file: Path, mark: str) -> None:
    options = load_options(file, [f'network_g={{{mark}type: NAFNet, width: 8}}'])
    assert (options.network_g.type, options.network_g.arguments) == ('NAFNet', {'width': 8})


def test_all_problems_at_once_sorted_by_line(file: Path) -> None:
    edit(
        file,
        ('name: small\n', 'nmae: small\n'),
        ('SegNAFNetLocal', 'SegNAFNetLokal'),
        ('    dataroot_lq: lq\n', '    gt_size: 12.5\n'),
        ('lr: 1e-3', 'lrr: 1e-3'),
        ('T_max: 2e5, ', ''),
        ('PSNRLoss', 'PSNRLos, loss_weight: high'),
        ('crop_border: 0', 'crop_border: [0]'),
        ('wandb: {project: null}', 'print_freq: often\n  use_tb_logger: 1'),
    )
    patterns = [
        r'x\.yml:1: name: ',
        r"x\.yml:1: nmae: .*'name'",
        r"x\.yml:3: network_g\.type: .*'SegNAFNetLokal'.*'SegNAFNetLocal'",
        r"x\.yml:8: datasets\.train: .*PairedImageDataset.*'dataroot_lq'",
        r'x\.yml:12: datasets\.train\.gt_size: .*integer.*12\.5',
        r"x\.yml:14: train\.optim_g\.lrr: .*'lrr'.*AdamW.*'lr'",
        r"x\.yml:15: train\.scheduler: .*CosineAnnealingLR.*'T_max'",
        r"x\.yml:16: train\.pixel_opt\.type: .*'PSNRLos'.*'PSNRLoss'",
        r'x\.yml:19: val\.metrics\.psnr\.crop_border: .*integer.*\[0\]',
        r"x\.yml:21: logger\.print_freq: .*integer.*'often'",
        r'x\.yml:22: logger\.use_tb_logger: .*boolean.*1',
        r"--force_yml 'val:save_img=3': val\.save_img: .*boolean.*3",
    ]
    assert not unexpected(problems_of(file, 'val:save_img=3'), patterns)


REFUSED = [
    ('name=42', 'name: .*string.*42'),
    ('name=', 'name: .*string.*null'),
    ('mode=refrence', "mode: .*'default'.*'reference'.*'refrence'.*'reference'"),
    ('manual_seed=-1', 'manual_seed: .*0.*-1'),
    ('manual_seed="1"', "manual_seed: .*integer.*'1'"),
    ('manual_seed=true', 'manual_seed: .*integer.*True'),
    ('train=[1]', r'train: .*mapping.*\[1\]'),
    ('val=', 'val: .*mapping.*null'),
    ('datasets:train:gt_size=null', r'datasets\.train\.gt_size: .*integer.*null'),
    ('train:total_iter=null', r'train\.total_iter: .*integer.*null'),
    ('network_g:width=null', r'network_g\.width: .*integer.*null'),
    ('train:scheduler:T_max=null', r'train\.scheduler\.T_max: .*integer.*null'),
    ('train:optim_g:betas=[0.9, null]', r'train\.optim_g\.betas\[1\]: .*number.*null'),
    (
        'train:precision=null',
        r"train\.precision: .*'fp32'.*'bf16'.*'fp16'.*null",
    ),
    ('network_g=NAFNet', "network_g: .*mapping.*'NAFNet'"),
    ('network_g={width: 8}', "network_g: .*'type'"),
    ('network_g={type: [a]}', r"network_g\.type: .*\['a'\]"),
    ('network_g:enc_blk_nums=[1, x]', r"network_g\.enc_blk_nums\[1\]: .*integer.*'x'"),
    ('network_g:_delete_=true', r"network_g\._delete_: .*'_delete_'.*SegNAFNetLocal"),
    ('network_g={type: SAMDeblur, backbone: {type: NAFNet, widht: 3}}', r'network_g\.backbone\.widht: '),
    ('train:optim_g:lr="1e-3"', r"train\.optim_g\.lr: .*number.*'1e-3'"),
    ('train:optim_g:params=[1]', r"train\.optim_g\.params: .*'params'.*AdamW"),
    ('train:pixel_opt=', "train: .*'pixel_opt'.*'perceptual_opt'"),
    ('train:pixel_opt:reduction=sum', r"train\.pixel_opt\.reduction: .*'mean'.*'sum'"),
    ('val:metrics:psnr:type=calculate_mcr', r"val\.metrics\.psnr\.type: .*'calculate_mcr'"),
    ('val:metrics:psnr:data_range=gues', r"val\.metrics\.psnr\.data_range: .*number.*'guess'"),
    ('val:grids=true', "val: .*'grids: true'.*'crop_size_h'.*'crop_size_h_ratio'"),
    ('val:crop_size_h_ratio=1.5', r'val\.crop_size_h_ratio: .*1.*1\.5'),
    ('val:max_minibatch=.inf', r"'\.inf'.*float"),
    ('datasets={}', 'datasets: .*1'),
    ('datasets:trian={}', r'datasets\.trian: .*phase'),
    ('datasets:train:mean=[1, 2, 3]', r'datasets\.train\.mean: .*\[1, 2, 3\]'),
    ('datasets:train:phase=val', r"datasets\.train\.phase: .*'phase'.*PairedImageDataset"),
    (
        'datasets:train={name: x, type: SingleImageDataset, dataroot_lq: b}',
        'SingleImageDataset .*train',
    ),
    (
        'datasets:train:batch_size_per_gpu=0',
        r'datasets\.train\.batch_size_per_gpu: .*1.*0',
    ),
    ('datasets:train:filename_tmpl=x', r"datasets\.train\.filename_tmpl: .*'\{\}'"),
    (
        'datasets:train:type=PairedImageDatset',
        "'PairedImageDatset'.*'PairedImageDataset'",
    ),
    (
        'datasets:train:type=PairedImageMaskDataset',
        r"datasets\.train: .*PairedImageMaskDataset.*'dataroot_mask'",
    ),
    ('datasets:train:dataroot_gt=""', r'datasets\.train\.dataroot_gt: '),
    ('train:optim_g:lr:x=1', r'train\.optim_g\.lr .*0\.001'),
    ('train:optimg:lr=1', r"train\.optimg: .*'optim_g'"),
    ('dist_params:port=1e6', r'dist_params\.port: .*65536'),
    ('_base_=y.yml', '_base_: '),
]


@pytest.mark.parametrize(('force', 'message'), REFUSED)
def test_refused(file: Path, force: str, message: str) -> None:
    (problem,) = problems_of(file, force)
    assert problem.startswith((f"--force_yml '{force}': ", 'x.yml:'))
    assert re.search(message, problem)


def test_a_side_stream_needs_page_locked_memory(file: Path) -> None:
    load_options(file, ['datasets:train:prefetch_mode=cuda'])
    (problem,) = problems_of(file, 'datasets:train:prefetch_mode=cuda', 'datasets:train:pin_memory=false')
    assert re.search(r"datasets\.train: .*'prefetch_mode: cuda'.*'pin_memory: true'", problem)


def test_phases_and_masks(file: Path) -> None:
    test = '{name: t, type: PairedImageMaskDataset, dataroot_gt: a, dataroot_lq: b, dataroot_mask: c}'
    other = test.replace('name: t', 'name: v')
    options = load_options(file, [f'datasets:test_1={test}', f'datasets:val={other}'])
    assert sorted(options.datasets) == ['test_1', 'train', 'val']


@pytest.mark.parametrize('place', list(sections()), ids='.'.join)
def test_every_key_of_the_schema_is_protected_against_typing_errors(file: Path, place: tuple[str, ...]) -> None:
    path = [
        {'datasets': 'train', 'metrics': 'psnr'}.get(place[i - 1], key) if key == '*' else key
        for i, key in enumerate(place)
    ]
    keys = list(sections()[place].model_fields)
    for key in keys:
        middle = len(key) // 2
        for typo in (
            key[:middle] + 'q' + key[middle + 1 :],
            key[:middle] + key[middle] + key[middle:],
            key[:1] + key[2:],
        ):
            if typo in keys:
                continue
            where = '.'.join([*path, typo])
            force = f'{where.replace(".", ":")}=1'
            if path[-1:] == ['*']:  # an item of a list, which is set as a whole
                where, force = f'{".".join(path[:-1])}[0].{typo}', f'{":".join(path[:-1])}=[{{{typo}: 1}}]'
            wanted = re.escape(f"--force_yml '{force}': {where}: ") + f".*'{key}'"
            assert any(re.match(wanted, problem) for problem in problems_of(file, force))


def test_keys_of_data_sets_are_protected_too(file: Path) -> None:
    for typo, key in (
        ('batch_sise_per_gpu', 'batch_size_per_gpu'),
        ('gt_sise', 'gt_size'),
        ('dataroot_gt2', 'dataroot_gt'),
    ):
        (problem,) = problems_of(file, f'datasets:train:{typo}=1')
        assert re.search(rf"datasets\.train\.{typo}: .*PairedImageDataset.*'{key}'", problem)
    both = problems_of(file, 'datasets:train:gt_sise=1', 'datasets:train:pin_memory=perhaps')
    assert [problem.split(': ', 2)[1] for problem in both] == ['datasets.train.gt_sise', 'datasets.train.pin_memory']


def test_generated_data_and_images_without_ground_truth_can_be_named(file: Path) -> None:
    blur = '{name: b, type: SyntheticBlurDataset, length: 4, generator: {type: felzenszwalb, scale: 50}}'
    single = '{name: s, type: SingleImageDataset, dataroot_lq: ~/x}'
    options = load_options(file, [f'datasets:train={blur}', f'datasets:test={single}'])
    assert len(build_dataset(options.datasets['train'], phase='train', seed=3)) == 4  # type: ignore[arg-type]
    assert options.datasets['test'].arguments == {'dataroot_lq': str(Path('~/x').expanduser())}
    problems = problems_of(
        file, 'datasets:train={name: b, type: SyntheticBlurDataset, generator: {type: felzenszwalb, scal: 5}}'
    )
    assert 'datasets.train.generator.scal: ' in problems[0]


def test_reference_mode_reaches_data_sets(file: Path) -> None:
    train = load_options(file, ['mode=reference']).datasets['train']
    assert (train.sampler, train.arguments['reference']) == ('reference', True)
    assert (
        load_options(file, ['mode=reference', 'datasets:train:sampler=default']).datasets['train'].sampler == 'default'
    )
    assert load_options(file).datasets['train'].sampler == 'default'
    assert 'reference' not in load_options(file).datasets['train'].arguments


def test_errors_in_included_files_name_them(file: Path) -> None:
    child = file.parent / 'child.yml'
    child.write_text('_base_: x.yml\ntrain:\n  optim_g:\n    lrr: 3\n')
    edit(file, ('seg_channel', 'seg_chanel'))
    patterns = [
        r"child\.yml:4: train\.optim_g\.lrr: .*AdamW.*'lr'.*x\.yml:14",
        r"x\.yml:4: network_g\.seg_chanel: .*SegNAFNetLocal.*'seg_channel'",
    ]
    assert not unexpected(problems_of(child), patterns)


def test_resolved_options_load_to_the_same_again(file: Path) -> None:
    file.write_text(TRAIN + 'num_gpu: 0\n')
    for force in (
        ['train:optim_g:lr=1e-07', 'name="1e-4"'],
        ['name="2024-01-01"', 'train:scheduler:eta_min=5e-324'],
        ['name="é: # x"'],
    ):
        options = load_options(file, force)
        copy = file.parent / 'copy.yml'
        copy.write_text(dump(options), encoding='utf-8')
        again = load_options(copy)
        assert again == options
        assert again.as_dict() == options.as_dict()
        assert dump(again) == dump(options)
        assert again.name == options.name
        assert 'grouped_masks' not in dump(options)
        assert yaml.safe_load(dump(options))['num_gpu'] == 0
    assert load_options(file, ['name=other']) != load_options(file)


# the original's keys


def test_keys_of_the_original_switch_to_reference_with_one_notice_each(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edit(
        file,
        ('name: small', 'name: small\nscale: 1'),
        ('type: psnr,', 'type: calculate_psnr,'),
        ('    dataroot_gt: gt', '    dataroot_gt: gt\n    use_shuffle: true\n    io_backend: {type: memcached}'),
    )
    with caplog.at_level(logging.WARNING):
        options = load_options(file, ['val:metrics:other={type: calculate_psnr, data_range: 255}', 'train:mixup=false'])
    assert options.mode == 'reference'
    assert [notice.split(': ')[0] for notice in options.notices] == [
        'scale',
        'datasets.*.use_shuffle',
        'train.mixup',
        'datasets.*.io_backend.type',
        'val.metrics.*.type',
        'mode',
    ]
    assert [record.getMessage() for record in caplog.records] == [f'{file}: {notice}' for notice in options.notices]
    assert options.network_g.arguments['mask_value'] == 1 / 255
    assert options.val.metrics['psnr'].as_dict() == {'type': 'psnr', 'crop_border': 0, 'data_range': 'guess'}
    assert options.val.metrics['other'].as_dict() == {'type': 'psnr', 'data_range': 255}
    assert options.datasets['train'].arguments['io_backend'] == {'type': 'disk'}


def test_a_stated_mode_stays(file: Path) -> None:
    options = load_options(file, ['mode=default', 'num_gpu=4', 'train:scheduler:type=TrueCosineAnnealingLR'])
    assert (options.mode, options.num_gpu, len(options.notices)) == ('default', 4, 2)
    assert 'mask_value' not in options.network_g.arguments
    assert options.train is not None
    assert options.train.scheduler.type == 'CosineAnnealingLR'


def test_reference_mode_leaves_stated_values_and_other_networks_alone(file: Path) -> None:
    options = load_options(file, ['mode=reference', 'network_g:mask_value=0.5', 'val:metrics:psnr:data_range=255'])
    assert options.notices == ()
    assert options.network_g.arguments['mask_value'] == 0.5
    assert options.val.metrics['psnr'].arguments['data_range'] == 255
    assert load_options(file, ['mode=reference', 'network_g={type: NAFNet}']).network_g.as_dict() == {'type': 'NAFNet'}


@pytest.mark.parametrize(
    ('force', 'key'),
    [
        ('train:mixup=true', 'train.mixup'),
        ('scale=2', 'scale'),
    ],
)
def test_keys_of_the_original_that_cannot_be_used(file: Path, force: str, key: str) -> None:
    (problem,) = problems_of(file, force)
    assert problem.startswith(f"--force_yml '{force}': {key}: ")
