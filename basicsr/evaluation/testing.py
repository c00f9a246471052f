"""The evaluation of a network on all data sets of an option file, with reports and a gallery."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from tqdm import tqdm

from basicsr.data import build_dataset
from basicsr.evaluation.row_psnr import RowPSNR
from basicsr.evaluation.scoring import Unreadable, evaluate, images_of, samples_that_fit, warn_of_missing
from basicsr.inference.baselines import BASELINES, build_methods
from basicsr.metrics import Metric, build_metric
from basicsr.models import build_model
from basicsr.options import Options, reference
from basicsr.options.schema_data import phase_of
from basicsr.reporting import (
    MCR,
    KeptImages,
    Report,
    RowWriter,
    definition_of,
    facts_of_run,
    join,
    write_gallery,
    write_report,
    write_summary,
)
from basicsr.reporting.row_curves import write_curve
from basicsr.reporting.tables import Published
from basicsr.reporting.training_curves import write_training_charts
from basicsr.training.distributed import Processes
from basicsr.utils.errors import BasicsrError, OptionError

logger = logging.getLogger(__name__)

ALWAYS = ('psnr', 'ssim', MCR)
"""Metrics that every evaluation reports, whether or not its option file lists them."""


class Evaluation:
    """A network and its data sets; :meth:`run` evaluates them.

    Args:
        options: with data sets for testing (or validation), metrics and weights.
        processes: this process among those of the job.
        folder: where results go; ``results/<name>`` if None.
        baselines: other methods to score, of :data:`basicsr.inference.baselines.BASELINES`.

    Raises:
        OptionError: no data sets, no weights, or a data set lacks something that a metric or the network needs.
        WeightsError: the weights do not fit the network.
        DataError: files of a data set are missing.
    """

    def __init__(
        self, options: Options, processes: Processes, folder: Path | None = None, baselines: Collection[str] = ()
    ) -> None:
        self.options, self.processes = options, processes
        self.folder = folder or Path('results') / options.name
        keys = [key for key in options.datasets if phase_of(key) != 'train']
        if not keys:
            raise OptionError('datasets: nothing to evaluate; add a data set for val or test')
        if options.path.pretrain_network_g is None:
            raise OptionError('path.pretrain_network_g: no weights to evaluate; set it to a network file')
        self.model = build_model(options, processes=processes)
        seed = options.manual_seed or 0
        self.datasets = {key: build_dataset(options.datasets[key], phase=phase_of(key), seed=seed) for key in keys}
        self.metrics = metrics_of(options)
        warn_of_missing(self.metrics)
        self._samples = samples_that_fit(self.model, options, self.datasets)
        methods = build_methods(baselines, device=str(processes.device)) if baselines else {}
        self._baselines = {BASELINES[name]: method for name, method in methods.items()}
        self.image_is_done: Callable[[], None] = lambda: None  # called after each image

    @property
    def images(self) -> int:
        """Number of images that this process evaluates."""
        rank, world = self.processes.rank, self.processes.world
        counts = (images_of(dataset, self.options.val) for dataset in self.datasets.values())
        return sum(len(range(rank, count, world)) for count in counts)

    def run(self, published: Published | None = None) -> list[Report]:
        """Evaluate all data sets, and write reports and the gallery.

        Args:
            published: scores of the paper by name of the data set and label, to show next to ours.

        Returns:
            one report per data set in the first process; an empty list in the others.

        Raises:
            BasicsrError: an image cannot be read (with ``val.on_bad_image: raise``), or an output contains NaN.
            OSError: the folder is not writable, or the disk is full.
        """
        reports = [report for key in self.datasets if (report := self._run_one(key)) is not None]
        if reports:
            write_summary(self.folder, reports, published)
            write_training_charts(self.folder, reports[0])
            write_gallery(self.folder, reports)
        return reports

    def _run_one(self, key: str) -> Report | None:
        options, processes = self.options, self.processes
        dataset, name = self.datasets[key], options.datasets[key].name
        total, images = images_of(dataset, options.val), KeptImages()
        metrics = self.metrics if 'gt' in self._samples[key] else {}
        definitions = [definition_of(label, metric) for label, metric in metrics.items()]
        curve = RowPSNR() if options.val.psnr_per_row else None
        with RowWriter(self.folder, name, definitions, total, images, processes.rank) as rows:
            share, hidden = len(range(processes.rank, total, processes.world)), None if processes.is_first else True
            how: dict[str, Any] = {'with_input': True, 'baselines': self._baselines}
            results = evaluate(self.model, dataset, metrics, processes, options.val, **how)
            for result in tqdm(results, name, share, unit='image', dynamic_ncols=True, disable=hidden):
                self.image_is_done()
                if isinstance(result, Unreadable):
                    if not isinstance(result.error, BasicsrError):  # the disk fails, not the file
                        raise result.error
                    logger.warning('skipped %s: %s', result.name, result.error)
                    rows.skip(result.name, str(result.error))
                    continue
                rows.add(result.row, result.record, result.labels, result.kernel)
                if curve is not None:
                    curve.add(result.record)
                if options.val.save_img:
                    result.save(self.folder / 'visualization' / name / f'{result.row.name}.png')
        processes.wait()
        row_curve = None if curve is None else curve.joined(processes)
        if not processes.is_first:
            return None
        if row_curve is not None:
            write_curve(self.folder, name, options.name, row_curve)
        weights, device = Path(options.path.pretrain_network_g or ''), str(processes.device)
        facts = facts_of_run(options.name, options.network_g.type, str(options.source or ''), weights, device)
        report = join(self.folder, facts, name, definitions, total, images, processes.world)
        write_report(self.folder, report)
        return report


def metrics_of(options: Options) -> dict[str, Metric]:
    """Return the metrics of an evaluation by label: those of ``val.metrics``, and PSNR, SSIM and MCR if not among them.

    The label of the mode collapse rate is always ``mcr``. An added metric has its name as label, or
    ``<name>_default`` if another metric has that label.

    Args:
        options: uses ``val.metrics``, ``val.use_image`` and ``mode``.

    Raises:
        OptionError: another metric has the label ``mcr``.
    """
    metrics: dict[str, Metric] = {}
    for label, block in options.val.metrics.items():
        metric = build_metric(block, options.val.use_image)
        if label == MCR and metric.name != MCR:
            text = 'this label is reserved for the mode collapse rate; choose another one for'
            raise OptionError(f'val.metrics.{label}: {text} {metric.name}')
        if metric.name == MCR and MCR in metrics:
            logger.warning('val.metrics.%s: reports contain one mode collapse rate; using this one', label)
        metrics[MCR if metric.name == MCR else label] = metric
    listed = {metric.name for metric in metrics.values()}
    for name in (name for name in ALWAYS if name not in listed):
        standard: dict[str, Any] = {'type': name}
        if options.mode == 'reference':
            standard = reference.apply('metric', standard)
        metrics[f'{name}_default' if name in metrics else name] = build_metric(standard, options.val.use_image)
    return metrics
