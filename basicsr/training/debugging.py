"""Option changes of ``--debug``, for a test run of less than a minute."""

from __future__ import annotations

from collections.abc import Iterable


def debug_overrides(name: str, datasets: Iterable[str], world: int) -> list[str]:
    """Return values for ``--force_yml`` that reduce a recipe to two small steps in a separate folder.

    Args:
        name: of the experiment.
        datasets: keys of its data sets.
        world: number of processes.
    """
    overrides = [
        f'name={name}_debug',
        'train:total_iter=2',
        f'train:total_batch_size={2 * world}',
        'val:val_freq=2',
        'val:validate_first=false',
        'val:max_images=2',
        'logger:print_freq=1',
        'logger:save_checkpoint_freq=2',
        'logger:wandb=null',
        'path:resume_state=null',
    ]
    if 'train' in datasets:
        overrides += ['datasets:train:batch_size_per_gpu=2', 'datasets:train:num_worker_per_gpu=1']
    return overrides
