"""Masks of many images: which device a task gets, threads within a process, and photos beyond the memory."""

from __future__ import annotations

import gc
import os
import sys
import threading
import weakref

import numpy as np
import pytest
import torch
from PIL import Image

from basicsr import make_masks as script
from basicsr.masks.generator import LateGenerator
from basicsr.masks.making import make_masks, shards_of_environment
from basicsr.utils.device import device_of_process, local_rank
from basicsr.utils.errors import DataError, OptionError
from basicsr.utils.ray_map import RayMap
from tests.helpers.fake_ray import FakeRay
from tests.helpers.mask_generators import OPEN, Halves
from tests.helpers.ray_work import fails_on_three

LOCAL, CLUSTER = {'CPU': 4.0}, {'CPU': 4.0, 'GPU': 2.0}


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    for number in range(6):
        image = np.random.default_rng(number).integers(0, 255, (20, 30, 3)).astype(np.uint8)
        Image.fromarray(image).save(folder / f'{number}.png')
    return folder


@pytest.fixture
def ray(monkeypatch):
    def install(resources, **more):
        fake = FakeRay(resources, **more)
        monkeypatch.setitem(sys.modules, 'ray', fake)
        return fake

    return install


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.glob('*.png')}


def test_without_an_address_a_cluster_starts_on_this_machine(ray, monkeypatch):
    fake = ray(LOCAL)
    monkeypatch.delenv('RAY_ADDRESS', raising=False)
    with RayMap():
        assert fake.address == 'local'
    monkeypatch.setenv('RAY_ADDRESS', '10.0.0.1:6379')
    with RayMap():
        assert fake.address == '10.0.0.1:6379'
    with pytest.raises(OptionError, match='cuda:1'):
        RayMap('cuda:1')


@pytest.mark.parametrize(
    ('device', 'resources', 'kind'),
    [
        ('cpu', CLUSTER, 'num_cpus'),
        ('auto', CLUSTER, 'num_gpus'),
        ('auto', LOCAL, 'num_cpus'),
        ('cuda', CLUSTER, 'num_gpus'),
    ],
)
def test_the_cluster_decides_about_gpus(ray, device, resources, kind):
    fake = ray(resources)
    with RayMap(device) as engine:
        assert list(engine(abs, [-1, 2, -3])) == [1, 2, 3]
    assert fake.options[0][kind] == 1


def test_a_cluster_without_the_gpus_that_are_asked_for_is_refused(ray):
    ray(LOCAL)
    with pytest.raises(OptionError, match='no GPU'):
        RayMap('cuda')


def test_errors_and_dead_processes_cost_one_result_each(ray):
    ray(LOCAL, crashes=1)
    with RayMap() as engine:
        results = engine(fails_on_three, [1, 3, 2])
        with pytest.raises(DataError, match='worker died'):
            next(results)
        with pytest.raises(DataError, match='three'):
            next(results)
        assert list(results) == [4]


def test_generators_without_a_device_need_no_gpu(ray, photos, tmp_path, monkeypatch):
    fake = ray(CLUSTER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    for folder, more in (('local', ()), ('ray', ('--engine', 'ray', '--gray', 'gray'))):
        monkeypatch.setattr(sys, 'argv', ['make_masks.py', '--input', 'photos', '--output', folder, *more])
        assert script.main() == 0
    assert fake.options and all('num_gpus' not in options for options in fake.options)
    assert files_of(tmp_path / 'ray') == files_of(tmp_path / 'local') and len(files_of(tmp_path / 'gray')) == 6


def test_a_head_without_a_gpu_uses_those_of_the_cluster(ray, photos, tmp_path, monkeypatch, tiny_sam):
    fake = ray(CLUSTER)
    words = ['make_masks.py', '--input', str(photos), '--output', str(tmp_path / 'masks'), '--engine', 'ray']
    settings = [f'{key}={value}' for key, value in OPEN.items()]
    sam = ['--generator', 'sam', '--checkpoint', str(tiny_sam), '--set', 'model=vit_b', *settings]
    monkeypatch.setattr(sys, 'argv', [*words, *sam])
    assert script.main() == 0
    assert fake.options and all(options['num_gpus'] == 1 for options in fake.options)


class Together(Halves):
    """Three threads that wait for each other."""

    threads = 3

    def __init__(self):
        super().__init__()
        self.all_here = threading.Barrier(3)

    def label_map(self, image):
        self.all_here.wait(timeout=30)
        return super().label_map(image)


def test_another_process_uses_the_threads_of_the_generator(photos, tmp_path):
    calls = []

    def engine(work, parts):
        calls.extend(parts)
        return map(work, parts)

    assert make_masks(photos, tmp_path / 'masks', Together(), engine=engine).made == 6
    assert [len(part) for part in calls] == [6]
    assert make_masks(photos, tmp_path / 'others', Halves(), engine=engine).made == 6
    assert [len(part) for part in calls[1:]] == [1] * 6


def test_a_machine_whose_generator_differs_makes_no_masks(photos, tmp_path):
    late = LateGenerator({'type': 'felzenszwalb'}, {'type': 'felzenszwalb', 'scikit-image': '0.1'})
    summary = make_masks(photos, tmp_path / 'masks', late)
    assert len(summary.failed) == 6 and "'scikit-image': '0.1'" in summary.failed['0.png']


class Small(Halves):
    """Memory for one photo at a time, and not for the photo whose first value is ``too_large``."""

    def __init__(self, too_large=-1):
        super().__init__()
        self.too_large, self.held, self.together = too_large, [], 0

    def all_of(self, images):
        self.together += 1
        tensor = torch.zeros(1000)
        self.held.append(weakref.ref(tensor))
        raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB\nmore')

    def label_map(self, image):
        gc.collect()
        assert sys.exc_info() == (None, None, None) and all(ref() is None for ref in self.held)
        if image[0, 0, 0] == self.too_large:
            raise RuntimeError('CUDA out of memory. Tried to allocate 9 GiB')
        return super().label_map(image)


def test_photos_that_do_not_fit_together_are_tried_alone(photos, tmp_path):
    generator = Small()
    assert make_masks(photos, tmp_path / 'masks', generator, batch_size=3).made == 6
    assert (generator.together, generator.calls) == (2, 6)


def test_a_photo_that_does_not_fit_alone_is_named_and_the_rest_is_done(photos, tmp_path):
    too_large = int(np.asarray(Image.open(photos / '2.png'))[0, 0, 0])
    summary = make_masks(photos, tmp_path / 'masks', Small(too_large), batch_size=4)
    assert summary.made == 5 and list(summary.failed) == ['2.png']
    assert '2.png' in summary.failed['2.png'] and '9 GiB' in summary.failed['2.png']


def test_other_errors_of_a_generator_are_not_hidden(photos, tmp_path):
    class Broken(Halves):
        def all_of(self, images):
            raise RuntimeError('shapes differ')

    with pytest.raises(RuntimeError, match='shapes differ'):
        make_masks(photos, tmp_path / 'masks', Broken(), batch_size=2)


def test_existing_masks_are_read_once(photos, tmp_path, monkeypatch):
    from basicsr.masks import making

    make_masks(photos, tmp_path / 'masks', Halves())
    read, plain = [], making.read_masks
    monkeypatch.setattr(making, 'read_masks', lambda path, size: read.append(path.name) or plain(path, size))
    assert make_masks(photos, tmp_path / 'masks', Halves(), batch_size=4).kept == 6
    assert sorted(read) == [f'{number}.png' for number in range(6)]


def test_srun_gives_each_task_its_gpu_and_share(photos, tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith('SLURM_')]:
        monkeypatch.delenv(name)
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 4)
    batch_script = {'SLURM_PROCID': '0', 'SLURM_LOCALID': '0', 'SLURM_NTASKS': '8'}
    for name, value in batch_script.items():
        monkeypatch.setenv(name, value)
    assert shards_of_environment() == (0, 1)  # one process, without srun
    for name, value in {'SLURM_PROCID': '5', 'SLURM_LOCALID': '1', 'SLURM_STEP_NUM_TASKS': '8'}.items():
        monkeypatch.setenv(name, value)
    assert (shards_of_environment(), device_of_process('auto', local_rank())) == ((5, 8), 'cuda:1')
    built = []

    class OfBlock(Halves):
        @classmethod
        def built(cls, block):
            built.append(block)
            return cls()

    monkeypatch.setattr('basicsr.masks.generator.build_generator', OfBlock.built)
    words = ['--input', str(photos), '--output', str(tmp_path / 'masks'), '--generator', 'sam', '--checkpoint', 'x']
    monkeypatch.setattr(sys, 'argv', ['make_masks.py', *words])
    assert script.main() == 0
    assert built[0]['device'] == 'cuda:1' and list(files_of(tmp_path / 'masks')) == ['5.png']
    monkeypatch.setenv('LOCAL_RANK', '3')  # torchrun inside of a Slurm task
    assert local_rank() == 3


def test_a_part_that_the_engine_loses_is_counted_and_the_others_go_on(photos, tmp_path):
    def engine(work, parts):
        def one(part):
            if part[0].name == '2.png':
                raise DataError('its process failed 4 times')
            return work(part)

        return map(one, parts)

    summary = make_masks(photos, tmp_path / 'masks', Halves(), engine=engine)
    assert summary.made == 5 and list(summary.failed) == ['2.png']
    assert {path.stem for path in (tmp_path / 'masks').glob('*.png')} == set('01345')
    again = make_masks(photos, tmp_path / 'masks', Halves())
    assert (again.made, again.kept, again.failed) == (1, 5, {})
