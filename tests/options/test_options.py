"""What is accepted and refused in an option file: keys, types, overrides, keys of the original."""

from __future__ import annotations

import logging
from pathlib import Path

import pydantic
import pytest
import yaml

from basicsr.data import build_dataset
from basicsr.options import dump, load_options
from basicsr.options.checking import sections
from basicsr.utils.errors import OptionError

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
    assert problems_of(file, 'val:save_img=3') == [
        'x.yml:1: name: a required key is missing (Name of the experiment: its folder is `experiments/<name>`)',
        "x.yml:1: nmae: unknown key; did you mean 'name'?",
        "x.yml:3: network_g.type: unknown network 'SegNAFNetLokal'; did you mean 'SegNAFNetLocal'?",
        "x.yml:8: datasets.train: PairedImageDataset needs the key 'dataroot_lq'",
        'x.yml:12: datasets.train.gt_size: expected a valid integer, got 12.5 (float)',
        "x.yml:14: train.optim_g.lrr: unknown key 'lrr' of AdamW; did you mean 'lr'?",
        "x.yml:15: train.scheduler: CosineAnnealingLR needs the key 'T_max'",
        "x.yml:16: train.pixel_opt.type: unknown loss 'PSNRLos'; did you mean 'PSNRLoss'?",
        'x.yml:19: val.metrics.psnr.crop_border: expected a valid integer, got [0] (list)',
        "x.yml:21: logger.print_freq: expected a valid integer, got 'often' (str)",
        'x.yml:22: logger.use_tb_logger: expected a valid boolean, got 1 (int)',
        "--force_yml 'val:save_img=3': val.save_img: expected a valid boolean, got 3 (int)",
    ]


REFUSED = [
    ('name=42', 'name: expected a valid string, got 42 (int); write quotes to make it text'),
    ('name=', 'name: expected a valid string, got nothing (null)'),
    ('mode=refrence', "mode: expected 'default' or 'reference', got 'refrence' (str); did you mean 'reference'?"),
    ('manual_seed=-1', 'manual_seed: expected greater than or equal to 0, got -1 (int)'),
    ('manual_seed="1"', "manual_seed: expected a valid integer, got '1' (str)"),
    ('manual_seed=true', 'manual_seed: expected a valid integer, got True (bool)'),
    ('train=[1]', 'train: expected a mapping, got [1] (list)'),
    ('val=', 'val: expected a mapping, got nothing (null)'),
    ('datasets:train:gt_size=null', 'datasets.train.gt_size: expected a valid integer, got nothing (null); leave the '),
    ('train:total_iter=null', 'train.total_iter: expected a valid integer, got nothing (null); leave the key out for '),
    ('network_g:width=null', 'network_g.width: expected a valid integer, got nothing (null); leave the key out'),
    ('train:scheduler:T_max=null', 'train.scheduler.T_max: expected a valid integer, got nothing (null)'),
    ('train:optim_g:betas=[0.9, null]', 'train.optim_g.betas[1]: expected a valid number, got nothing (null)'),
    (
        'train:precision=null',
        "train.precision: expected 'fp32', 'bf16' or 'fp16', got nothing (null); leave the key out",
    ),
    ('network_g=NAFNet', "network_g: expected a mapping, got 'NAFNet' (str)"),
    ('network_g={width: 8}', "network_g: a network block needs the key 'type': "),
    ('network_g={type: [a]}', "network_g.type: expected the name of a network, got ['a']"),
    ('network_g:enc_blk_nums=[1, x]', "network_g.enc_blk_nums[1]: expected a valid integer, got 'x' (str)"),
    ('network_g:_delete_=true', "network_g._delete_: unknown key '_delete_' of SegNAFNetLocal"),
    ('network_g={type: SAMDeblur, backbone: {type: NAFNet, widht: 3}}', 'network_g.backbone.widht: unknown key'),
    ('train:optim_g:lr="1e-3"', "train.optim_g.lr: expected a valid number, got '1e-3' (str)"),
    ('train:optim_g:params=[1]', "train.optim_g.params: unknown key 'params' of AdamW"),
    ('train:pixel_opt=', "train: a loss is missing: set 'pixel_opt' or 'perceptual_opt'"),
    ('train:pixel_opt:reduction=sum', "train.pixel_opt.reduction: expected 'mean', got 'sum' (str)"),
    ('val:metrics:psnr:type=calculate_mcr', "val.metrics.psnr.type: 'calculate_mcr' cannot be used"),
    ('val:metrics:psnr:data_range=gues', "val.metrics.psnr.data_range: expected a valid number or 'guess', got"),
    ('val:grids=true', "val: 'grids: true' needs either 'crop_size_h' or 'crop_size_h_ratio'"),
    ('val:crop_size_h_ratio=1.5', 'val.crop_size_h_ratio: expected less than or equal to 1, got 1.5 (float)'),
    ('val:max_minibatch=.inf', "'.inf' is not a valid float"),
    ('datasets={}', 'datasets: dictionary should have at least 1 item'),
    ('datasets:trian={}', 'datasets.trian: unknown phase; a key of datasets is train, val or test, with'),
    ('datasets:train:mean=[1, 2, 3]', 'datasets.train.mean: expected nothing (null), got [1, 2, 3] (list)'),
    ('datasets:train:phase=val', "datasets.train.phase: unknown key 'phase' of PairedImageDataset"),
    (
        'datasets:train={name: x, type: SingleImageDataset, dataroot_lq: b}',
        'SingleImageDataset cannot be used for train',
    ),
    (
        'datasets:train:batch_size_per_gpu=0',
        'datasets.train.batch_size_per_gpu: expected greater than or equal to 1, got 0 (int)',
    ),
    ('datasets:train:filename_tmpl=x', "datasets.train.filename_tmpl: expected a file name (no slashes) with one '{}'"),
    (
        'datasets:train:type=PairedImageDatset',
        "unknown dataset 'PairedImageDatset'; did you mean 'PairedImageDataset'?",
    ),
    (
        'datasets:train:type=PairedImageMaskDataset',
        "datasets.train: PairedImageMaskDataset needs the key 'dataroot_mask'",
    ),
    ('datasets:train:prefetch_mode=cuda', "datasets.train: 'prefetch_mode: cuda' needs 'pin_memory: true'"),
    ('datasets:train:dataroot_gt=""', 'datasets.train.dataroot_gt: the path is empty'),
    ('train:optim_g:lr:x=1', 'train.optim_g.lr has no keys, its value is 0.001'),
    ('train:optimg:lr=1', "train.optimg: unknown key; did you mean 'optim_g'?"),
    ('dist_params:port=1e6', 'dist_params.port: expected less than 65536, got'),
    ('_base_=y.yml', '_base_: unknown key'),
]


@pytest.mark.parametrize(('force', 'message'), REFUSED)
def test_refused(file: Path, force: str, message: str) -> None:
    (problem,) = problems_of(file, force)
    assert problem.startswith((f"--force_yml '{force}': ", 'x.yml:'))
    assert message in problem


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
            wanted = f"--force_yml '{where.replace('.', ':')}=1': {where}: unknown key; did you mean '{key}'?"
            assert wanted in problems_of(file, f'{where.replace(".", ":")}=1')


def test_keys_of_data_sets_are_protected_too(file: Path) -> None:
    for typo, key in (
        ('batch_sise_per_gpu', 'batch_size_per_gpu'),
        ('gt_sise', 'gt_size'),
        ('dataroot_gt2', 'dataroot_gt'),
    ):
        (problem,) = problems_of(file, f'datasets:train:{typo}=1')
        assert f"datasets.train.{typo}: unknown key '{typo}' of PairedImageDataset; did you mean '{key}'?" in problem
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
    assert 'datasets.train.generator.scal: unknown key' in problems[0]


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
    assert problems_of(child) == [
        "child.yml:4: train.optim_g.lrr: unknown key 'lrr' of AdamW; did you mean 'lr'? (its type: x.yml:14)",
        "x.yml:4: network_g.seg_chanel: unknown key 'seg_chanel' of SegNAFNetLocal; did you mean 'seg_channel'?",
    ]


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
    ('force', 'reason'),
    [
        ('train:mixup=true', 'train.mixup: mixup calls a method that the original never had; remove the key'),
        ('scale=2', 'scale: images are restored at their own size, without upscaling; remove the key'),
    ],
)
def test_keys_of_the_original_that_cannot_be_used(file: Path, force: str, reason: str) -> None:
    assert problems_of(file, force) == [f"--force_yml '{force}': {reason}"]
