"""Building blocks of training: optimizers, schedules, data, checkpoints, logs and processes."""

from basicsr.training.optimizers import build_optimizer
from basicsr.training.scheduling import advance, build_scheduler

__all__ = ['advance', 'build_optimizer', 'build_scheduler']
