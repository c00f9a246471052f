"""docs/train_photos.md: its commands, with a few small pictures and steps."""

from __future__ import annotations

import re
import shlex

import numpy as np
import pytest

from basicsr.images.files import imread
from basicsr.inference.pretrained import load_network
from tests.helpers.doc_pages import commands_of
from tests.helpers.project import ROOT, run_python
from tests.helpers.scenes import scene, write_images

SMALLER = {  # what the page says, and what the test says in its place
    '--pairs 8000': '--pairs 12 --crop 64 --workers 0',
    '--pairs 120': '--pairs 8 --workers 0',
    'UNet.yml --auto_resume --force_yml train:total_iter=25000 train:scheduler:T_max=25000': (
        'UNet.yml --auto_resume --force_yml {common} train:total_iter=4 train:scheduler:T_max=4'
    ),
    'UNet.yml --auto_resume': 'UNet.yml --auto_resume --force_yml {common} train:total_iter=2 train:scheduler:T_max=2',
}
COMMON = (
    'datasets:train:gt_size=32 datasets:train:batch_size_per_gpu=2 train:total_batch_size=2 val:max_images=1 '
    'network_g:width=4 network_g:blocks=[1,1,1] train:precision=fp32 datasets:train:num_worker_per_gpu=0 '
    'logger:save_checkpoint_freq=1 train:warmup_iter=-1'
)


@pytest.mark.slow
def test_the_commands_lead_from_photos_to_a_network(tmp_path):
    sources = tmp_path / 'datasets/Photos/sources'
    for part, (height, width), seed in (('train', (150, 200), 0), ('val', (482, 640), 10)):
        write_images(sources / part / 'photos', {f'p{n}': scene(height, width, seed + n) for n in range(2)})
        large = scene(height + 40, width + 40, seed + 5)
        frames = {f'walk_{n}': large[20 : 20 + height, 6 * n : 6 * n + width] for n in range(3)}
        write_images(sources / part / 'clips', frames)
    for name in ('basicsr', 'scripts', 'options', 'docs', 'benchmarks'):
        (tmp_path / name).symlink_to(ROOT / name)
    commands = commands_of('train_photos.md')
    assert len(commands) == 9
    replaced = 0
    for command in commands:
        found = next((text for text in SMALLER if text in command), None)
        if found is not None:
            command = command.replace(found, SMALLER[found].format(common=COMMON))
            replaced += 1
        done = run_python(shlex.split(command)[1:], tmp_path)
        assert done.returncode == 0, f'{command}\n{done.stdout}\n{done.stderr}'
    assert replaced == 4
    log = (tmp_path / 'experiments/photo_unet/log/photo_unet.log').read_text()
    for kind in ('shake', 'motion', 'kernel', 'sharp'):
        assert re.search(rf'{kind} .*\b4 steps: gain:', log)
    net = load_network(tmp_path / 'datasets/Photos/my_network.safetensors')
    assert net.options == {'type': 'PhotoUNet', 'width': 4, 'blocks': [1, 1, 1]}
    before, (after,) = ROOT / 'docs/images/blurry.jpg', (tmp_path / 'results/my_network').glob('blurry*')
    assert np.abs(imread(before).astype(int) - imread(after)).mean() < 10
