"""Train a network: python basicsr/train.py -opt options/train/GoPro/SAMDeblur.yml

Exit codes: 0 done; 1 an error, which its message explains; 3 too many steps in a row were not finite (the training is
saved), or all were skipped; 4 another process of the job failed; 75 a signal (SIGTERM, SIGINT, SIGUSR1) came and the
training is saved: the same command with --auto_resume continues it.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if not __package__:  # run by its path, not as a module
    runpy.run_path(f'{Path(__file__).resolve().parent}/utils/clone.py')

import argparse
import contextlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # --help needs no torch
    from basicsr.options import Options
    from basicsr.training.checkpoints import Checkpoint
    from basicsr.training.distributed import Processes
    from basicsr.training.loggers import RunLog
    from basicsr.training.signals import StopRequest

logger = logging.getLogger('basicsr.train')

EXIT_NOT_FINITE = 3


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    from basicsr.options import add_arguments
    from basicsr.utils.installation import with_commands

    parser = argparse.ArgumentParser(
        description=with_commands(__doc__ or ''), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument(
        '--launcher',
        choices=('none', 'pytorch', 'slurm'),
        default='none',
        help='what started the processes: pytorch is torchrun, slurm is srun',
    )
    parser.add_argument(
        '--auto_resume', action='store_true', help='continue from the last checkpoint of the experiment, if any'
    )
    parser.add_argument('--debug', action='store_true', help='try it out: two small steps, two images, one checkpoint')
    parser.add_argument('--local_rank', '--local-rank', type=int, help=argparse.SUPPRESS)  # old launchers pass it
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Train as the command line says; returns the exit code."""
    args = parse(arguments)
    logging.basicConfig(format='%(asctime)s %(levelname)s: %(message)s', datefmt='%m-%d %H:%M:%S')
    from basicsr.options import load_options
    from basicsr.training.debugging import debug_overrides
    from basicsr.training.distributed import start_processes
    from basicsr.training.signals import stop_on_signals
    from basicsr.utils.device import hide_gpus

    options = load_options(args.opt, args.force_yml, 'train')
    device = 'cpu' if options.num_gpu == 0 else 'auto'
    if device == 'cpu':
        hide_gpus()
    processes = start_processes(args.launcher, device, options.dist_params.port, options.dist_params.backend)
    logging.getLogger('basicsr').setLevel(logging.INFO if processes.is_first else logging.ERROR)
    if args.debug:
        changes = debug_overrides(options.name, options.datasets, processes.world)
        options = load_options(args.opt, [*args.force_yml, *changes], 'train')
    with processes, stop_on_signals() as stop:
        return Training(options, processes, stop, args.auto_resume and not args.debug, args.debug).run()


class Training:
    """One run of the recipe in an option file.

    Args:
        options: with ``train`` and ``datasets.train``.
        processes: this process among those of the job.
        stop: set by a signal.
        auto_resume: continue from the last checkpoint of the experiment, if there is one.
        debug: a trial, whose folder is cleared first and whose checkpoint is read back.

    Raises:
        BasicsrError: what the user can mend: options, data, checkpoints.
    """

    def __init__(
        self, options: Options, processes: Processes, stop: StopRequest, auto_resume: bool, debug: bool = False
    ) -> None:
        from basicsr.data import build_dataset
        from basicsr.data.bad_images import first_sample
        from basicsr.evaluation.validation import Validation
        from basicsr.models import build_model
        from basicsr.options.reference import TOTAL_BATCH
        from basicsr.options.schema_data import phase_of
        from basicsr.preflight import build_on_paper, check_paths
        from basicsr.training.batches import TrainingData
        from basicsr.training.batching import share_batch
        from basicsr.training.checkpoints import CheckpointFolder, provenance
        from basicsr.training.randomness import derived_seed, seed_everything
        from basicsr.training.resuming import choose_seed, claim_experiment, compare_recipes, find_checkpoint, recipe_of

        self.options, self.processes, self.stop, self.debug = options, processes, stop, debug
        self.recipe, block = options.for_training()
        self.provenance = provenance()  # now: files may change while this runs
        build_on_paper(options)
        check_paths(options)
        published = self.recipe.published_batch_size or (TOTAL_BATCH if options.mode == 'reference' else None)
        self.batching = share_batch(self.recipe.total_batch_size, block.batch_size_per_gpu, processes.world, published)

        self.experiment = Path('experiments') / options.name
        self.folder = CheckpointFolder(self.experiment, options.logger.keep_checkpoints)
        resume_state = options.path.resume_state
        processes.first_does(lambda: claim_experiment(self.experiment, auto_resume, resume_state, debug))
        own_weights = 'network_g' in options.path.ignore_resume_networks
        checkpoint = find_checkpoint(self.folder, auto_resume, resume_state, not own_weights, processes)
        seed = choose_seed(options.manual_seed, checkpoint, processes)
        self.settings = recipe_of(options, seed, self.batching.total)
        if checkpoint is not None:
            compare_recipes(checkpoint, self.settings, options.path.resume_with_changes)

        seed_everything(seed, self.recipe.deterministic)  # every process builds the same network
        datasets = {
            key: build_dataset(
                opt, phase=phase_of(key), seed=seed if key == 'train' else derived_seed(seed, f'datasets.{key}')
            )
            for key, opt in options.datasets.items()
            if key == 'train' or phase_of(key) == 'val'
        }
        self.model = build_model(options, processes=processes)
        for key, dataset in datasets.items():
            policy = self.recipe.on_bad_image if key == 'train' else options.val.on_bad_image
            self.model.require_fit(f'datasets.{key}', dataset, first_sample(dataset, policy == 'skip'))
        validated = {key: dataset for key, dataset in datasets.items() if key != 'train'}
        self.validation = Validation(options, validated, self.model, processes, self.experiment / 'visualization')
        self.data = TrainingData(
            datasets['train'],
            block,
            self.batching,
            processes,
            seed,
            skip_bad=self.recipe.on_bad_image == 'skip',
            gray_masks=self.model.prior == 'gray',
        )
        seed_everything(seed + processes.rank, self.recipe.deterministic)
        self.best: float | None = None
        self.validation_pending = False
        if checkpoint is not None:
            self.continue_from(checkpoint, own_weights)

    def run(self) -> int:
        """Train to the end, or until a signal comes or too many steps are not finite; returns the exit code."""
        from basicsr.models.fitting import step_that_fits
        from basicsr.training.loggers import Timer
        from basicsr.training.signals import EXIT_STOPPED

        model, logging_options = self.model, self.options.logger
        stopped = diverged = False
        with contextlib.closing(self.data), self.open_log() as log:
            if log is not None and self.experiment.is_dir():
                log.open()
            self.announce()
            if self.validation_pending:
                stopped = not self.validate(log)
            steps, timer = self.data.steps(), Timer()
            while model.iteration < self.recipe.total_iter and not (stopped or diverged):
                batches = next(steps)
                timer.data_is_here()
                losses = step_that_fits(model, batches, self.batching)
                timer.step_is_done()
                if log is not None:
                    log.open()  # not before: a start that fails leaves no experiment behind

                if model.problem is not None:
                    logger.warning('step %d skipped: %s', model.iteration, model.problem)
                if model.iteration % logging_options.print_freq == 0 or model.iteration == 1:
                    means = self.processes.mean(losses)
                    if log is not None:
                        log.step(model.iteration, self.data.epoch, means, model.lr, model.grad_norm, *timer.means())
                diverged = model.bad_steps >= self.recipe.max_bad_steps
                (stopped,) = self.processes.any(bool(self.stop))
                if self.validation.is_due(model.iteration):
                    self.validation_pending = True
                    stopped = stopped or not self.validate(log)
                    timer = Timer()
                last = model.iteration == self.recipe.total_iter
                if model.iteration % logging_options.save_checkpoint_freq == 0 or last or stopped or diverged:
                    self.save()
            steps.close()

            if model.iteration >= self.recipe.total_iter:
                return self.finish()
            if diverged:
                logger.error(
                    'stopped after %d steps in a row that were not finite; the weights before them are saved',
                    model.bad_steps,
                )
                return EXIT_NOT_FINITE
            logger.info('stopped by %s after step %d; --auto_resume continues', self.stop.name, model.iteration)
            return EXIT_STOPPED

    def finish(self) -> int:
        """The end of the last step: keep the network, unless nothing was learnt; returns the exit code."""
        model = self.model
        too_short = self.debug and model.bad_steps == 0  # two steps may end before fp16 has found its loss scale
        if not model.steps_taken and not too_short:
            logger.error('nothing was learnt: every step was skipped; %s', model.problem or 'the log says why')
            return EXIT_NOT_FINITE
        self.save_network('latest')
        if self.debug:
            self.read_back()
        without = model.iteration - model.steps_taken
        lost = f' (of {model.iteration:,} steps {without:,} were without effect)' if without else ''
        logger.info('done%s: %s', lost, self.folder.network_file('latest').resolve())
        return 0

    def announce(self) -> None:
        """Say what is going to happen."""
        from basicsr.training.schedule_remarks import schedule_remarks

        if not self.debug:
            for remark in schedule_remarks(self.model.scheduler, self.recipe.total_iter, self.recipe.warmup_iter):
                logger.warning('train.scheduler: %s', remark)
        logger.info(
            'experiment %s: %s of %s steps done, %d in an epoch; %s process(es) on %s in %s; %s',
            self.experiment.resolve(),
            f'{self.model.iteration:,}',
            f'{self.recipe.total_iter:,}',
            self.data.steps_per_epoch,
            self.processes.world,
            self.processes.device.type,
            self.recipe.precision,
            self.batching,
        )

    def validate(self, log: RunLog | None) -> bool:
        """Validate, and keep the network if it is the best so far; False if a signal came meanwhile."""
        scores = self.validation.run(self.model.iteration, log, lambda: bool(self.stop))
        if scores is None:
            return False
        self.validation_pending = False
        label = self.options.logger.best_metric
        if label is not None and self.validation.is_better(scores[label], self.best):
            self.best = scores[label]
            self.save_network('best')
        return True

    def save(self) -> None:
        """Write a checkpoint; every process takes part."""
        from basicsr.training.randomness import generator_states

        model = self.model
        state = {
            'epoch': self.data.epoch,
            'consumed': self.data.consumed,
            **model.state_dict(),
            'generators': self.processes.gather(generator_states(self.processes.device)),
            'recipe': self.settings,
            'best': self.best,
            'best_metric': self.validation.chosen_by,
            'validation_pending': self.validation_pending,
        }
        self.processes.first_does(lambda: self.folder.save(model.iteration, model.net, self.about_network(), state))

    def save_network(self, name: str) -> None:
        """Write the network alone, as ``net_g_<name>.pth``."""
        self.processes.first_does(lambda: self.folder.save_network(name, self.model.net, self.about_network()))

    def about_network(self) -> dict[str, Any]:
        """What a network file holds beside the weights: their average, what they come from, what wrote them."""
        options = {**self.options.as_dict(), 'manual_seed': self.settings['manual_seed']}
        about = {'iter': self.model.iteration, 'options': options, **self.provenance}
        if self.model.ema is not None:
            about['params_ema'] = {key: value.cpu() for key, value in self.model.ema.net.state_dict().items()}
        return about

    def continue_from(self, checkpoint: Checkpoint, own_weights: bool) -> None:
        """Take up the training where a checkpoint left it.

        Args:
            checkpoint: of the same recipe, unless the user wants another one.
            own_weights: keep the weights that the network has.
        """
        from basicsr.training.randomness import restore_generators
        from basicsr.training.resuming import own_generators

        state = checkpoint.state
        self.model.load(checkpoint, keep_weights=own_weights, new_recipe=self.options.path.resume_with_changes)
        self.processes.first_does(lambda: self.folder.set_aside_after(checkpoint.iteration))
        self.data.resume_at(int(state['epoch']), int(state['consumed']))
        self.validation_pending = bool(state.get('validation_pending'))
        self.best = state.get('best')
        if state.get('best_metric', self.validation.chosen_by) != self.validation.chosen_by and self.best is not None:
            logger.warning('the best network so far was chosen by another metric; the next validation starts afresh')
            self.best = None
        generators = own_generators(state['generators'], self.processes, checkpoint.iteration)
        if generators is not None and state['recipe'].get('manual_seed') == self.settings['manual_seed']:
            restore_generators(generators, self.processes.device)
        logger.info('continuing from %s', checkpoint.path)

    def open_log(self) -> Any:
        """The log of the first process; nothing in the others."""
        from basicsr.training.loggers import RunLog

        if not self.processes.is_first:
            return contextlib.nullcontext()
        options = self.options.logger
        return RunLog(
            self.experiment,
            self.options.name,
            self.recipe.total_iter,
            self.model.iteration,
            options.use_tb_logger,
            None if options.wandb is None else options.wandb.model_dump(),
            self.options.as_dict(),
        )

    def read_back(self) -> None:
        """Make sure that the checkpoint of a trial can be continued from."""
        from basicsr.training.checkpoints import read_checkpoint

        self.model.load(read_checkpoint(self.folder.state_file(self.model.iteration)))
        logger.info('trial: data, network, steps, validation and checkpoint work; see %s', self.experiment.resolve())


def command() -> int:
    """Run :func:`main` as a program; returns the exit code."""
    from basicsr.utils.console import run

    return run(main)


if __name__ == '__main__':
    sys.exit(command())
