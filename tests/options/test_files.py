"""The option files that are shipped, those of the original, the generated documentation, and the scripts."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from basicsr.options import add_arguments, dump, from_arguments, load_options
from basicsr.options.describe import argument_texts, in_words, schema_of
from basicsr.options.includes import read_file
from basicsr.preflight import build_on_paper
from basicsr.utils.registry import ARCH_REGISTRY
from tests.helpers.problems import unexpected

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted(path for path in (ROOT / 'options').rglob('*.yml') if path.parent.name != '_base_')
ORIGINAL = sorted((ROOT / 'tests' / 'fixtures' / 'original_options').rglob('*.yml'))


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize('path', SHIPPED, ids=relative)
def test_shipped_files_load_and_state_their_mode(path: Path) -> None:
    options = load_options(path)
    assert options.notices == ()
    assert 'mode' in options.model_fields_set
    assert path.read_text().startswith('# yaml-language-server: $schema=')
    schema = path.parent / path.read_text().split('\n')[0].split('=')[1]
    assert schema.resolve() == ROOT / 'docs' / 'options.schema.json'


def test_the_four_methods() -> None:
    methods = {
        name: load_options(ROOT / f'options/train/GoPro/{name}.yml') for name in ('NAFNet', 'CAT', 'MAP', 'SAMDeblur')
    }
    width32 = {'width': 32, 'enc_blk_nums': [1, 1, 1, 28], 'middle_blk_num': 1, 'dec_blk_nums': [1, 1, 1, 1]}
    prior = {'type': 'SegNAFNetLocal', **width32, 'seg_channel': 2, 'mask_value': 1.0}
    assert {name: options.network_g.as_dict() for name, options in methods.items()} == {
        'NAFNet': {'type': 'NAFNetLocal', **width32},
        'CAT': {'type': 'NAFNetLocal', **width32, 'mask': True},
        'MAP': {**prior, 'mask_dropout': 0.0},
        'SAMDeblur': {**prior, 'mask_dropout': 0.5},
    }
    assert {name: options.datasets['train'].type for name, options in methods.items()} == {
        'NAFNet': 'PairedImageDataset',
        'CAT': 'PairedImageMaskDataset',
        'MAP': 'PairedImageGroupMaskDataset',
        'SAMDeblur': 'PairedImageGroupMaskDataset',
    }
    assert len({options.name for options in methods.values()}) == 4
    for options in methods.values():
        assert options.mode == 'default'
        assert options.train is not None
        assert options.train.optim_g.arguments == {'lr': 1e-3, 'weight_decay': 1e-3, 'betas': [0.9, 0.9]}
        assert options.train.scheduler.as_dict() == {'type': 'CosineAnnealingLR', 'T_max': 200000, 'eta_min': 1e-7}
        assert options.train.total_iter == 200000
        assert sorted(options.val.metrics) == ['mcr', 'psnr', 'ssim']
        assert (options.datasets['train'].arguments['gt_size'], options.datasets['train'].batch_size_per_gpu) == (
            256,
            32,
        )


@pytest.mark.parametrize('path', ORIGINAL, ids=relative)
def test_original_files_run_as_reference(path: Path) -> None:
    options = load_options(path)
    assert options.mode == 'reference'
    training, restormer = 'train' in path.parts, 'Restormer' in path.parts
    named = {notice.split(': ')[0] for notice in options.notices}
    expected = {'mode', 'scale', 'num_gpu', 'val.metrics.*.type'} | ({'grouped_masks'} if 'Seg' in path.name else set())
    expected |= {'datasets.*.use_shuffle', 'train.scheduler.type'} if training else set()
    expected |= {'train.mixup'} if training and not restormer else set()
    if restormer:
        keys = ('type', 'geometric_augs', 'mini_batch_sizes', 'iters', 'gt_sizes')
        expected |= {f'datasets.*.{key}' for key in keys} | {'val.window_size'}
        expected |= {'train.mixing_augs', 'train.mixing_augs.mixup', 'train.scheduler.eta_mins'}
    assert named == expected
    assert options.network_g.arguments.get('mask_value') == (1 / 255 if 'Seg' in path.name else None)
    assert {metric.type for metric in options.val.metrics.values()} <= {'psnr', 'ssim'}
    assert all(metric.arguments['data_range'] == 'guess' for metric in options.val.metrics.values())
    assert (options.train is not None) == training
    build_on_paper(options)


def test_values_of_the_original_files() -> None:
    assert len(ORIGINAL) == 20 + 10 + 1
    folder = ORIGINAL[0].parents[3]
    map_ = load_options(folder / 'SAM-Deblur/train/GoPro/SegNAFNet-no-dropout-width32.yml')
    assert map_.network_g.arguments['mask_dropout'] == 0
    assert map_.train is not None and map_.train.optim_g.arguments['lr'] == 1e-3
    assert (map_.val.val_freq, map_.logger.save_checkpoint_freq) == (10000, 5000)
    cat = load_options(folder / 'SAM-Deblur/test/RealBlurJ/MaskNAFNet-width32.yml')
    assert cat.datasets['test'].arguments['dataroot_mask'] == './datasets/RealBlurJ/test/masks'
    denoising = load_options(folder / 'NAFNet/train/SIDD/NAFNet-width64.yml')
    assert denoising.network_g.arguments['middle_blk_num'] == 12
    assert denoising.datasets['train'].arguments['io_backend'] == {'type': 'lmdb'}
    assert (denoising.val.grids, denoising.val.crop_size_h, denoising.val.max_minibatch) == (True, 256, 8)
    restormer = load_options(folder / 'Restormer/train/GoPro/Deblurring.yml')
    data = restormer.datasets['train']
    assert (data.type, data.batch_size_per_gpu, data.num_worker_per_gpu) == ('PairedImageDataset', 8, 8)
    assert {key: data.arguments[key] for key in ('gt_size', 'use_flip', 'use_rot')} == {
        'gt_size': 384,
        'use_flip': True,
        'use_rot': True,
    }
    assert restormer.train is not None
    assert restormer.train.scheduler.as_dict() == {
        'type': 'CosineAnnealingRestartLR',
        'periods': [92000, 208000],
        'restart_weights': [1, 1],
        'eta_min': [0.0003, 0.000001],
    }
    assert (restormer.val.use_image, restormer.val.max_minibatch, restormer.logger.print_freq) == (False, 8, 1000)


@pytest.mark.parametrize('path', SHIPPED + ORIGINAL, ids=relative)
def test_round_trip(path: Path, tmp_path: Path) -> None:
    options = load_options(path)
    (tmp_path / 'copy.yml').write_text(dump(options), encoding='utf-8')
    again = load_options(tmp_path / 'copy.yml')
    assert again == options
    assert again.as_dict() == options.as_dict()


@pytest.mark.slow
def test_generated_documentation_is_current() -> None:
    result = run('scripts/generate_option_docs.py', '--check')
    assert (result.returncode, result.stdout) == (0, ''), result.stderr


def fits(schema: Any, value: Any, definitions: dict[str, Any]) -> bool:
    """Whether a value fits a JSON schema, as far as ours uses the language."""
    kinds = {'object': dict, 'array': list, 'string': str, 'boolean': bool, 'null': type(None), 'number': (int, float)}
    if schema is True:
        return True
    if '$ref' in schema:
        return fits(definitions[schema['$ref'].removeprefix('#/$defs/')], value, definitions)
    if 'anyOf' in schema and not any(fits(branch, value, definitions) for branch in schema['anyOf']):
        return False
    if value not in schema.get('enum', [value]) or value != schema.get('const', value):
        return False
    kind = schema.get('type')
    if kind == 'integer':
        return isinstance(value, (int, float)) and not isinstance(value, bool) and value == int(value)
    if kind and not isinstance(value, kinds[kind]):
        return False
    if isinstance(value, list):
        return all(fits(schema.get('items', True), item, definitions) for item in value)
    if not isinstance(value, dict):
        return True
    patterns = list(schema.get('patternProperties', {}).values())
    rest = patterns[0] if patterns else schema.get('additionalProperties', True)
    inner = {key: schema.get('properties', {}).get(key, rest) for key in value}
    return all(inner[key] is not False and fits(inner[key], item, definitions) for key, item in value.items())


def test_json_schema_accepts_what_loads_and_refuses_what_does_not() -> None:
    schema = json.loads((ROOT / 'docs' / 'options.schema.json').read_text())
    definitions = schema['$defs']
    assert schema['$schema'] == 'https://json-schema.org/draft/2020-12/schema'
    for path in SHIPPED + sorted((ROOT / 'options').rglob('_base_/*.yml')):
        parts = {'_base_': ['x.yml'], 'network_g': {'_delete_': True}}
        assert fits(schema, {**parts, **read_file(path).plain()}, definitions), path
    good = load_options(ROOT / 'options/train/GoPro/SAMDeblur.yml').as_dict()
    assert fits(schema, good, definitions)
    bad: list[dict[str, Any]] = [
        {'nmae': 'x'},
        {'manual_seed': 'x'},
        {'mode': 'refrence'},
        {'network_g': {**good['network_g'], 'widht': 3}},
        {'network_g': {'type': 'NAFNt'}},
        {'train': {**good['train'], 'total_iter': 0.5}},
        {'train': {**good['train'], 'scheduler': {'type': 'CosineAnnealingLR', 'T_max': 'x'}}},
        {'val': {'metrics': {'psnr': {'type': 'psnr', 'crop': 1}}}},
    ]
    for change in bad:
        assert not fits(schema, {**good, **change}, definitions), change
    assert schema['properties']['num_gpu']['deprecated'] is True
    assert '"$ref"' in json.dumps(definitions['network.SAMDeblur']['properties']['backbone'])


def test_types_in_words() -> None:
    assert in_words(schema_of(tuple[float, float, float] | None)) == 'list of 3 numbers or null'
    assert in_words(schema_of(dict[str, int])) == 'mapping of integers'
    assert in_words(schema_of(Any)) == in_words(schema_of(torch.Tensor)) == 'any'
    assert argument_texts(ARCH_REGISTRY.get('SegNAFNet'))['img_channel']


def test_options_do_not_import_torch() -> None:
    code = 'import sys, basicsr.options; sys.exit("torch" in sys.modules)'
    assert run('-c', code).returncode == 0


def test_arguments_of_entry_points() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    file = str(ROOT / 'options/train/GoPro/NAFNet.yml')
    force = ['--force_yml', 'train:warmup_iter=-1', 'val:val_freq=7', '--force_yml', 'name=x']
    options = from_arguments(parser.parse_args(['-opt', file, *force]))
    assert (options.name, options.val.val_freq) == ('x', 7)
    assert from_arguments(parser.parse_args(['-opt', file])).name == 'NAFNet-GoPro'  # nothing is left from before


@pytest.mark.slow
def test_check_options_script(tmp_path: Path) -> None:
    script, good = str(ROOT / 'scripts' / 'check_options.py'), str(ROOT / 'options/train/GoPro/NAFNet.yml')
    bad = tmp_path / 'bad.yml'
    bad.write_text(f'_base_: {good}\nnmae: x\ntrain: {{total_iter: many}}\n')
    result = run(script, '-opt', good, str(bad), '--force_yml', 'val:val_freq=5', cwd=tmp_path)
    assert result.returncode == 1
    patterns = [
        f'{good}: ok',
        f"{bad}:2: nmae: .*'name'",
        rf"{bad}:3: train\.total_iter: .*'many'",
    ]
    assert not unexpected(result.stdout.splitlines(), patterns)
    shown = run(script, '-opt', good, '--show', '--force_yml', 'val:val_freq=5', cwd=tmp_path)
    assert shown.returncode == 0
    (tmp_path / 'shown.yml').write_text(shown.stdout)
    assert load_options(tmp_path / 'shown.yml') == load_options(good, ['val:val_freq=5'])
    paths = run(script, '-opt', good, '--paths', cwd=tmp_path)
    assert paths.returncode == 1
    assert paths.stdout.count(': datasets/GoPro/') == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ('override', 'message'),
    [
        ('network_g:dec_blk_nums=[1]', 'network_g: enc_blk_nums .*4 .*dec_blk_nums 1'),
        ('train:optim_g:lr=-1', r'train\.optim_g: .*-1'),
        ('network_g:mask_dropout=1.5', r'network_g\.mask_dropout: .*1'),
        ('train:scheduler:T_max=-5', r'train\.scheduler\.T_max: .*1'),
        ('name=../../evil', r'name: .*folder'),
        ('datasets:val:name=a/b', r'datasets\.val\.name: .*folder'),
        ('train:find_unused_parameters=true', r'train\.find_unused_parameters: '),
    ],
)
def test_check_options_finds_what_cannot_be_built(override: str, message: str) -> None:
    file = str(ROOT / 'options' / 'train' / 'GoPro' / 'SAMDeblur.yml')
    result = run(str(ROOT / 'scripts' / 'check_options.py'), '-opt', file, '--force_yml', override, cwd=ROOT)
    assert result.returncode == 1
    assert re.search(message, result.stdout)


def test_builders_take_the_blocks_of_an_option_file() -> None:
    from basicsr.archs import build_network
    from basicsr.losses import build_loss
    from basicsr.metrics import build_metric
    from basicsr.training import build_optimizer, build_scheduler

    options = load_options(ROOT / 'options' / 'train' / 'GoPro' / 'SAMDeblur.yml')
    assert options.train is not None
    with torch.device('meta'):
        net = build_network(options.network_g)
    assert net.options == options.network_g.as_dict()
    optimizer = build_optimizer([torch.zeros(1, requires_grad=True)], options.train.optim_g)
    assert build_scheduler(optimizer, options.train.scheduler, options.train.total_iter).get_last_lr() == [1e-3]
    assert build_loss(options.train.pixel_opt).loss_weight == 1
    assert [build_metric(block).name for block in options.val.metrics.values()] == ['psnr', 'ssim', 'mcr']
