"""What every training loop needs: optimizers and learning-rate schedules."""

from basicsr.training.optimizers import build_optimizer
from basicsr.training.schedules import advance, build_scheduler

__all__ = ['advance', 'build_optimizer', 'build_scheduler']
