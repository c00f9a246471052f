"""Progressive training: patches and batches change with the stage, and resuming is exact across the change."""

from __future__ import annotations

import os
import signal

import pytest
import torch

from basicsr.data.generated_dataset import GeneratedDataset
from basicsr.models.image_restoration_model import ImageRestorationModel
from basicsr.options import load_options
from basicsr.training.batches import TrainingData
from basicsr.training.batching import share_batch
from basicsr.training.distributed import Processes
from basicsr.training.stages import Stage
from basicsr.utils.errors import OptionError, TrainingError
from basicsr.utils.loader_options import LoaderOptions
from tests.helpers import training_runs as runs
from tests.models.test_fitting import need_memory_for

pytestmark = pytest.mark.numeric

LAKDNET = {'type': 'LaKDNet', 'dim': 4, 'num_blocks': [1, 1, 1, 1], 'mix_kernel_size': [3, 3, 3, 3]}
STAGES = [
    {'gt_size': 8, 'total_batch_size': 4, 'iterations': 3},
    {'gt_size': 16, 'total_batch_size': 3, 'iterations': 2, 'batch_size_per_gpu': 2},  # three batches of one sample
    {'gt_size': 24, 'total_batch_size': 2, 'iterations': 3, 'batch_size_per_gpu': 1},
]
FROM_FILES = {'type': 'PairedImageDataset', 'gt_size': 256, 'use_flip': True, 'use_rot': True}
GENERATED = {'type': 'SyntheticBlurDataset', 'length': 7, 'path_length': 2.0}


def content(roots, train=FROM_FILES, stages=STAGES, **changes):
    """The recipe of a tiny LaKDNet in three stages."""
    files = {key: value for key, value in roots.items() if key != 'dataroot_mask'}
    block = {**train, **(files if train['type'] == 'PairedImageDataset' else {})}
    datasets = {'train': {'name': 'small', 'batch_size_per_gpu': 4, 'num_worker_per_gpu': 0, **block}}
    datasets['val'] = {'name': 'small-val', 'type': 'PairedImageDataset', **files}
    changes = {'train__stages': stages, 'train__total_batch_size': None, **changes}
    return runs.options(roots, network_g=LAKDNET, datasets=datasets, **changes)


def killed_in_step(step):
    """Return a preparation of a process that kills it in that step."""
    return Kill(step)


class Kill:
    def __init__(self, step):
        self.step = step

    def __call__(self):
        runs.in_step(self.step, 0, lambda batches: os.kill(os.getpid(), signal.SIGKILL))


@pytest.mark.parametrize('train', [FROM_FILES, GENERATED], ids=lambda block: block['type'])
def test_stopped_at_every_change_and_continued_equals_uninterrupted(tmp_path, roots, monkeypatch, train):
    recipe = content(roots, train, train__ema_decay=0.9)
    assert runs.train(tmp_path / 'whole', recipe) == 0
    original = ImageRestorationModel.train_step
    for step, workers in ((3, 2), (4, 0), (5, 2), (6, 1)):  # the last and the first step of a stage
        with monkeypatch.context() as patch:

            def train_step(model, *batches, step=step):
                if model.iteration + 1 == step:
                    os.kill(os.getpid(), signal.SIGTERM)
                return original(model, *batches)

            patch.setattr(ImageRestorationModel, 'train_step', train_step)
            recipe['datasets']['train']['num_worker_per_gpu'] = workers
            assert runs.train(tmp_path / 'parts', recipe, '--auto_resume') == 75
    assert runs.train(tmp_path / 'parts', recipe, '--auto_resume') == 0
    assert runs.log_of(tmp_path / 'parts') == runs.log_of(tmp_path / 'whole')
    whole, parts = (runs.result_of(tmp_path / name) for name in ('whole', 'parts'))
    assert len(whole) > 100
    assert runs.differences(whole, parts) == []


@pytest.mark.slow
def test_killed_across_a_change_and_continued_equals_uninterrupted(tmp_path, roots):
    recipe = content(roots, datasets__train__num_worker_per_gpu=2, logger__save_checkpoint_freq=2)
    assert runs.ends([runs.start(tmp_path / 'whole', recipe)]) == [0]
    for step in (5, 6):  # continues from steps 2 and 4, so stages change after both
        process = runs.start(tmp_path / 'killed', recipe, '--auto_resume', prepare=killed_in_step(step))
        assert runs.ends([process]) == [-signal.SIGKILL]
    assert runs.ends([runs.start(tmp_path / 'killed', recipe, '--auto_resume')]) == [0]
    assert runs.log_of(tmp_path / 'killed') == runs.log_of(tmp_path / 'whole')
    assert runs.differences(*(runs.result_of(tmp_path / name) for name in ('whole', 'killed'))) == []


class Numbers(GeneratedDataset):
    """Samples that contain their index, and the epoch."""

    def __getitem__(self, index):
        image = torch.tensor([index, self.epoch], dtype=torch.float32).view(2, 1, 1)
        return {'lq': image, 'gt': image, 'lq_path': str(index), 'mask_seed': index}


def steps_of(count, world, rank, at_once, done=(0, 0, 0)):
    """The samples of each step, as lists of batches of (index, epoch)."""
    stages = [Stage(share_batch(total, at_once, world), end) for total, end in ((4, 4), (2, 7), (6, 0))]
    processes = Processes(rank=rank, world=world)
    data = TrainingData([Numbers(10, 0)] * 3, LoaderOptions(num_worker_per_gpu=0), stages, processes, seed=5)
    data.resume_at(*done)
    steps, found, places = data.steps(), [], []
    for _ in range(count):
        found.append([[tuple(map(int, item.flatten())) for item in batch['lq']] for batch in next(steps)])
        places.append((data.done, data.epoch, data.consumed))
    steps.close()
    return found, places


def test_stages_share_the_samples_of_an_epoch():
    found, places = steps_of(10, 1, 0, 8)
    assert [sum(map(len, step)) for step in found] == [4] * 4 + [2] * 3 + [6] * 3
    # epoch 0 has three steps of 4, epoch 1 one of 4 and three of 2, epoch 2 two of 6
    indices = [index for step in found[3:7] for batch in step for index, _ in batch]
    assert sorted(indices) == list(range(10))
    epochs = [{epoch for batch in step for _, epoch in batch} for step in found]
    assert epochs == [{0}] * 3 + [{1}] * 4 + [{2}] * 2 + [{3}]
    for number, place in enumerate(places, start=1):  # from every place, with the same samples
        assert steps_of(10 - number, 1, 0, 8, place)[0] == found[number:]


@pytest.mark.parametrize('at_once', [1, 8])
def test_processes_share_each_step_of_each_stage(at_once):
    found = steps_of(10, 1, 0, 8)[0]
    parts = [steps_of(10, 2, rank, at_once)[0] for rank in (0, 1)]
    for step, first, second in zip(found, *parts, strict=True):
        together = [item for part in (first, second) for batch in part for item in batch]
        assert together == [item for batch in step for item in batch]
        assert all(len(batch) <= at_once for batch in first + second)


def changed(number, **keys):
    return [stage | (keys if index == number else {}) for index, stage in enumerate(STAGES)]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'stages': changed(1, iterations=3)}, r"train: the iterations of 'stages' add up to 9, but 'total_iter' is 8"),
        ({'train__total_batch_size': 4}, r"train: 'total_batch_size' has no effect with 'stages'"),
        ({'stages': changed(1, gt_size=12)}, r'train\.stages: gt_size 12 of stage 2: LaKDNet would pad.*multiple of 8'),
        ({'stages': changed(2, gt_size=32)}, r'train\.stages: gt_size 32 of stage 3 is larger than .*png \(24 × 28\)'),
        ({'stages': changed(0, patch=8)}, r"train\.stages\[0\]\.patch: unknown key; known: iterations, gt_size"),
        ({'stages': changed(0, gt_size=-8)}, r'train\.stages\[0\]\.gt_size: .*-8'),
        ({'stages': []}, r'train\.stages: '),
        ({'train': {'type': 'SingleImageDataset', 'dataroot_lq': '.'}}, r'SingleImageDataset'),
    ],
)  # fmt: skip
def test_wrong_stages_are_refused_before_the_first_step(tmp_path, roots, changes, message):
    with pytest.raises(OptionError, match=message):
        runs.train(tmp_path, content(roots, **changes))
    assert not (tmp_path / 'experiments').exists()


def test_a_data_set_without_patches_cannot_have_stages(tmp_path, roots):
    from basicsr.utils.registry import DATASET_REGISTRY

    class Fixed(Numbers):
        """Samples of one size."""

        def __init__(self, length: int = 3):
            super().__init__(length, 0)

    DATASET_REGISTRY.get('PairedImageDataset')
    DATASET_REGISTRY.register(Fixed)
    try:
        file = runs.write_options(tmp_path, content(roots, {'type': 'Fixed'}))
        with pytest.raises(OptionError, match=r'train\.stages: Fixed of datasets\.train has no gt_size to change'):
            load_options(file)
    finally:
        DATASET_REGISTRY._entries.pop('Fixed')


def test_a_batch_that_two_processes_cannot_share_names_its_stage(tmp_path, roots):
    from basicsr.training.stages import stages_of

    recipe, block = load_options(runs.write_options(tmp_path, content(roots))).for_training()
    assert [str(stage.batching) for stage in stages_of(recipe, block, 1)] == [
        f'{total} samples per step: 1 × {steps} × {size} (processes × accumulated batches × samples)'
        for total, steps, size in ((4, 1, 4), (3, 3, 1), (2, 2, 1))
    ]
    with pytest.raises(OptionError, match='total_batch_size of stage 2: 3 samples cannot be split evenly over 2'):
        stages_of(recipe, block, 2)


def test_changed_stages_are_changes_of_the_recipe(tmp_path, roots):
    assert runs.train(tmp_path, content(roots)) == 0
    with pytest.raises(OptionError, match=r'train\.stages: .*-> .*32'):
        runs.train(tmp_path, content(roots, stages=changed(0, total_batch_size=32)), '--auto_resume')
    same = content(roots, stages=changed(0, batch_size_per_gpu=1))  # the split into batches is no part of it
    assert runs.train(tmp_path, same, '--auto_resume') == 0


def test_out_of_memory_in_a_later_stage_names_it(tmp_path, roots, monkeypatch):
    need_memory_for(monkeypatch, 1)
    recipe = content(
        roots,
        stages=[STAGES[0] | {'batch_size_per_gpu': 1}, STAGES[1] | {'batch_size_per_gpu': 3}],
        train__total_iter=5,
    )
    with pytest.raises(TrainingError, match=r'batch_size_per_gpu: 1 in the stage of train\.stages with gt_size 16'):
        runs.train(tmp_path, recipe)


def test_a_test_run_has_a_step_of_the_first_and_of_the_last_stage(tmp_path, roots, monkeypatch):
    sizes, original = [], ImageRestorationModel.train_step

    def train_step(model, *batches):
        sizes.append([tuple(batch['gt'].shape) for batch in batches])
        return original(model, *batches)

    monkeypatch.setattr(ImageRestorationModel, 'train_step', train_step)
    assert runs.train(tmp_path, content(roots), '--debug') == 0
    assert sizes == [[(2, 3, 8, 8)], [(2, 3, 24, 24)]]
