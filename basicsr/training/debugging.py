"""Option changes of ``--debug``, for a test run of less than a minute."""

from __future__ import annotations

from basicsr.options import Options


def debug_overrides(options: Options, world: int) -> list[str]:
    """Return values for ``--force_yml`` that reduce a recipe to two small steps in a separate folder.

    With ``train.stages``, the steps are one of the first and one of the last stage.

    Args:
        options: of the option file.
        world: number of processes.
    """
    overrides = [
        f'name={options.name}_debug',
        'train:total_iter=2',
        'val:val_freq=2',
        'val:validate_first=false',
        'val:max_images=2',
        'logger:print_freq=1',
        'logger:save_checkpoint_freq=2',
        'logger:wandb=null',
        'path:resume_state=null',
    ]
    stages = options.train.stages if options.train is not None else None
    if stages is None:
        overrides.append(f'train:total_batch_size={2 * world}')
    else:
        steps = [
            f'{{gt_size: {stage.gt_size}, iterations: 1, total_batch_size: {2 * world}}}'
            for stage in (stages[0], stages[-1])
        ]
        overrides.append(f'train:stages=[{", ".join(steps)}]')
    if 'train' in options.datasets:
        overrides += ['datasets:train:batch_size_per_gpu=2', 'datasets:train:num_worker_per_gpu=1']
    return overrides
