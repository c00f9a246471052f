"""Train a network: python basicsr/train.py -opt options/train/GoPro/SAMDeblur.yml

Exit codes: 0 finished; 1 error, see the message; 3 too many consecutive steps with a non-finite loss or gradient (a
checkpoint was saved), or every step was skipped; 4 another process of the job failed; 75 stopped by a signal (SIGTERM,
SIGINT, SIGUSR1) after saving a checkpoint: run the same command with --auto_resume to continue.
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
    from basicsr.models.step_result import StepResult
    from basicsr.options import Options
    from basicsr.training.checkpoints import Checkpoint
    from basicsr.training.distributed import Processes
    from basicsr.training.loggers import RunLog
    from basicsr.training.signals import StopRequest

logger = logging.getLogger('basicsr.train')

EXIT_NOT_FINITE = 3


def command_line(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that training and evaluation share."""
    from basicsr.options import add_arguments
    from basicsr.utils.installation import command_parser

    parser = command_parser(description)
    add_arguments(parser)
    launchers = ('none', 'pytorch', 'slurm')
    text = 'how the processes were started: pytorch for torchrun, slurm for srun'
    parser.add_argument('--launcher', choices=launchers, default='none', help=text)
    text = 'record a few steps: a trace, and the ten costliest operators in the log'
    parser.add_argument('--profile', action='store_true', help=text)
    parser.add_argument('--local_rank', '--local-rank', type=int, help=argparse.SUPPRESS)  # old launchers pass it
    return parser


def join_job(options: Options, launcher: Any) -> Processes:
    """Join the processes that the launcher started; ``num_gpu: 0`` keeps this process on the CPU."""
    from basicsr.training.distributed import start_processes

    device = 'cpu' if options.num_gpu == 0 else 'auto'
    return start_processes(launcher, device, options.dist_params.port, options.dist_params.backend)


def main(arguments: list[str] | None = None) -> int:
    """Train a network; return the exit code."""
    parser = command_line(__doc__ or '')
    text = 'continue from the latest checkpoint of the experiment, if any'
    parser.add_argument('--auto_resume', action='store_true', help=text)
    text = 'test run: two small steps, two validation images, one checkpoint'
    parser.add_argument('--debug', action='store_true', help=text)
    args = parser.parse_args(arguments)
    logging.basicConfig(format='%(asctime)s %(levelname)s: %(message)s', datefmt='%m-%d %H:%M:%S')
    from basicsr.options import load_options
    from basicsr.training.debugging import debug_overrides
    from basicsr.training.signals import stop_on_signals
    from basicsr.utils.device import hide_gpus

    options = load_options(args.opt, args.force_yml, 'train')
    if options.num_gpu == 0:
        hide_gpus()
    processes = join_job(options, args.launcher)
    logging.getLogger('basicsr').setLevel(logging.INFO if processes.is_first else logging.ERROR)
    if args.debug:
        changes = debug_overrides(options, processes.world)
        options = load_options(args.opt, [*args.force_yml, *changes], 'train')
    with processes, stop_on_signals() as stop:
        training = Training(options, processes, stop, args.auto_resume and not args.debug, args.debug)
        return training.run(args.profile)


class Training:
    """One run of the recipe in an option file.

    Args:
        options: with ``train`` and ``datasets.train``.
        processes: this process among those of the job.
        stop: set by a signal.
        auto_resume: continue from the latest checkpoint of the experiment, if any.
        debug: test run: clear the experiment folder first, and read the checkpoint back.

    Raises:
        BasicsrError: invalid options, data or checkpoints.
    """

    def __init__(
        self, options: Options, processes: Processes, stop: StopRequest, auto_resume: bool, debug: bool = False
    ) -> None:
        from basicsr.data import build_dataset
        from basicsr.evaluation.scoring import samples_that_fit
        from basicsr.evaluation.validation import Validation
        from basicsr.models import build_model
        from basicsr.options.reference import TOTAL_BATCH
        from basicsr.options.schema_data import phase_of
        from basicsr.preflight import build_on_paper, check_paths
        from basicsr.training.batches import TrainingData
        from basicsr.training.checkpoints import CheckpointFolder, provenance
        from basicsr.training.randomness import derived_seed, seed_everything
        from basicsr.training.resuming import choose_seed, claim_experiment, compare_recipes, find_checkpoint, recipe_of
        from basicsr.training.stages import datasets_of, stages_of

        self.options, self.processes, self.stop, self.debug = options, processes, stop, debug
        self.recipe, block = options.for_training()
        self.provenance = provenance()  # now, since files may change during the training
        build_on_paper(options)
        check_paths(options)
        published = self.recipe.published_batch_size or (TOTAL_BATCH if options.mode == 'reference' else None)
        stages = stages_of(self.recipe, block, processes.world, published)

        self.experiment = Path('experiments') / options.name
        self.folder = CheckpointFolder(self.experiment, options.logger.keep_checkpoints)
        resume_state = options.path.resume_state
        processes.first_does(lambda: claim_experiment(self.experiment, auto_resume, resume_state, debug))
        own_weights = 'network_g' in options.path.ignore_resume_networks
        checkpoint = find_checkpoint(self.folder, auto_resume, resume_state, not own_weights, processes)
        seed = choose_seed(options.manual_seed, checkpoint, processes)
        total_batch = None if self.recipe.stages else stages[0].batching.total
        self.settings = recipe_of(options, seed, total_batch)
        if checkpoint is not None:
            compare_recipes(checkpoint, self.settings, options.path.resume_with_changes)

        seed_everything(seed, self.recipe.deterministic)  # every process builds the same network
        skip_bad = self.recipe.on_bad_image == 'skip'
        train = datasets_of(stages, block, seed, skip_bad)
        validated = {
            key: build_dataset(opt, phase='val', seed=derived_seed(seed, f'datasets.{key}'))
            for key, opt in options.datasets.items()
            if phase_of(key) == 'val'
        }
        self.model = build_model(options, processes=processes)
        samples = samples_that_fit(self.model, options, {'train': train[0], **validated})
        images = self.experiment / 'visualization'
        self.validation = Validation(options, validated, samples, self.model, processes, images)
        gray, dropout = self.model.prior == 'gray', self.model.contract.mask_dropout_in_data
        self.data = TrainingData(train, block, stages, processes, seed, skip_bad, gray, dropout)
        seed_everything(seed + processes.rank, self.recipe.deterministic)
        if checkpoint is not None:
            self.continue_from(checkpoint, own_weights)
        if self.model.chooses_precision:
            self.model.choose_precision(self.data.example(samples['train']))

    def run(self, profile: bool = False) -> int:
        """Train until the last step, a signal, or too many non-finite steps; return the exit code.

        Args:
            profile: record a few steps, see :func:`~basicsr.utils.profiling.profiled`.
        """
        from basicsr.models.fitting import train_step_or_advise
        from basicsr.training.distributed import LateAny
        from basicsr.training.loggers import Timer, open_log
        from basicsr.training.signals import EXIT_STOPPED
        from basicsr.training.step_lines import StepLines
        from basicsr.utils.profiling import profiled

        traces = self.experiment / 'profile' if profile and self.processes.is_first else None
        model, every, start = self.model, self.options.logger, self.model.iteration
        stopped = diverged = False
        result: StepResult | None = None
        with (
            contextlib.closing(self.data),
            open_log(self.experiment, self.options, start, self.processes.is_first) as log,
            profiled(traces, model.device, self.recipe.total_iter - start) as step_is_recorded,
        ):
            self.announce()
            if self.validation.pending:
                stopped = not self.validate(log)
            steps, timer, late = self.data.steps(), Timer(), LateAny(self.processes)
            lines = StepLines(log, self.processes, every.print_freq)
            while model.iteration < self.recipe.total_iter and not (stopped or diverged):
                batches = next(steps)
                timer.data_is_here()
                result = train_step_or_advise(model, batches, self.data.stage)
                timer.step_is_done()
                step_is_recorded()
                if log is not None:
                    log.open()  # not earlier: a start that fails leaves no experiment behind
                lines.step_is_done(model.iteration, self.data.epoch, result, timer)
                diverged = model.bad_steps >= self.recipe.max_bad_steps
                stopped = late(bool(self.stop))
                if self.validation.is_due(model.iteration):
                    lines.write()
                    self.validation.pending = True
                    stopped = stopped or not self.validate(log)
                    timer = Timer()
                last = model.iteration == self.recipe.total_iter
                if model.iteration % every.save_checkpoint_freq == 0 or last or stopped or diverged:
                    self.save()
            steps.close()
            late.finish()
            lines.write()
            model.settle()

            if model.iteration >= self.recipe.total_iter:
                return self.finish(result)
            if diverged:
                text = 'stopped after %d consecutive non-finite steps; saved the weights from before them'
                logger.error(text, model.bad_steps)
                return EXIT_NOT_FINITE
            logger.info('stopped by %s after step %d; --auto_resume continues', self.stop.name, model.iteration)
            return EXIT_STOPPED

    def finish(self, result: StepResult | None) -> int:
        """Save the network after the last step, unless all steps were skipped; return the exit code."""
        from basicsr.training.checkpoints import read_checkpoint

        model = self.model
        too_short = self.debug and model.bad_steps == 0  # two steps may end before fp16 has found its loss scale
        if not model.steps_taken and not too_short:
            reason = result.problem if result is not None and result.problem else 'see the log'
            logger.error('the network did not learn: every step was skipped; %s', reason)
            return EXIT_NOT_FINITE
        self.save_network('latest')
        if self.debug:
            model.load(read_checkpoint(self.folder.state_file(model.iteration)))
            logger.info(
                'test run: data, network, steps, validation and checkpoint work; see %s', self.experiment.resolve()
            )
        skipped = model.iteration - model.steps_taken
        lost = f' (of {model.iteration:,} steps, {skipped:,} had no effect)' if skipped else ''
        logger.info('done%s: %s', lost, self.folder.network_file('latest').resolve())
        return 0

    def announce(self) -> None:
        """Log the plan of the training, and warn if the schedule does not fit its length."""
        from basicsr.training.schedule_remarks import schedule_remarks

        if not self.debug:
            for remark in schedule_remarks(self.model.scheduler, self.recipe.total_iter, self.recipe.warmup_iter):
                logger.warning('train.scheduler: %s', remark)
        logger.info(
            'experiment %s: %s of %s steps done, %d steps per epoch; %d process(es) on %s in %s; %s',
            self.experiment.resolve(), f'{self.model.iteration:,}', f'{self.recipe.total_iter:,}',
            self.data.steps_per_epoch, self.processes.world, self.processes.device.type,
            self.model.arithmetic.precision, self.data.stage,
        )  # fmt: skip

    def validate(self, log: RunLog | None) -> bool:
        """Validate, and save the network if it is the best so far; return False if interrupted by a signal."""
        is_best = self.validation.run(self.model.iteration, log, lambda: bool(self.stop))
        if is_best:
            self.save_network('best')
        return is_best is not None

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
            **self.validation.state_dict(),
        }
        self.processes.first_does(lambda: self.folder.save(model.iteration, model.net, self.about_network(), state))

    def save_network(self, name: str) -> None:
        """Write the network without a training state, as ``net_g_<name>.pth``."""
        self.processes.first_does(lambda: self.folder.save_network(name, self.model.net, self.about_network()))

    def about_network(self) -> dict[str, Any]:
        """Return the entries of a network file besides the weights: EMA weights, options, versions."""
        options = {**self.options.as_dict(), 'manual_seed': self.settings['manual_seed']}
        about = {'iter': self.model.iteration, 'options': options, **self.provenance}
        if self.model.ema is not None:
            about['params_ema'] = {key: value.cpu() for key, value in self.model.ema.net.state_dict().items()}
        return about

    def continue_from(self, checkpoint: Checkpoint, own_weights: bool) -> None:
        """Restore the state of a checkpoint.

        Args:
            checkpoint: of the same recipe, unless ``path.resume_with_changes`` is set.
            own_weights: keep the weights that the network has.
        """
        from basicsr.training.randomness import restore_generators
        from basicsr.training.resuming import own_generators

        state = checkpoint.state
        self.model.load(checkpoint, keep_weights=own_weights, new_recipe=self.options.path.resume_with_changes)
        self.processes.first_does(lambda: self.folder.set_aside_after(checkpoint.iteration))
        self.data.resume_at(checkpoint.iteration, int(state['epoch']), int(state['consumed']))
        self.validation.load_state_dict(state)
        generators = own_generators(state['generators'], self.processes, checkpoint.iteration)
        if generators is not None and state['recipe'].get('manual_seed') == self.settings['manual_seed']:
            restore_generators(generators, self.processes.device)
        logger.info('continuing from %s', checkpoint.path)


def command() -> int:
    """Run :func:`main` as a program; return the exit code."""
    from basicsr.utils.console import run

    return run(main)


if __name__ == '__main__':
    sys.exit(command())
