"""The evaluation that an option file describes: every data set, its report, pictures and gallery."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from basicsr.data import build_dataset
from basicsr.data.bad_images import first_sample
from basicsr.evaluation.scoring import Evaluated, Unreadable, evaluate, images_of
from basicsr.images.files import imwrite
from basicsr.metrics import Metric, build_metric
from basicsr.models import build_model
from basicsr.options import Options, reference
from basicsr.options.schema_data import phase_of
from basicsr.reporting import (
    MCR,
    Pictures,
    Report,
    RowWriter,
    definition_of,
    facts_of_run,
    join,
    write_gallery,
    write_report,
    write_summary,
)
from basicsr.reporting.tables import Published
from basicsr.training.distributed import Processes
from basicsr.utils.errors import BasicsrError, OptionError

logger = logging.getLogger(__name__)

ALWAYS = ('psnr', 'ssim', MCR)
"""Metrics that every evaluation reports, whatever its option file lists."""


class Evaluation:
    """A network and its data sets; :meth:`run` evaluates them.

    Args:
        options: with data sets for testing (or validation), metrics and weights.
        processes: this process among those of the job.
        folder: where results go; ``results/<name>`` if None.

    Raises:
        OptionError: there is nothing to evaluate, or no weights; a data set lacks what a metric or the network needs.
        WeightsError: the weights do not fit the network.
        DataError: files of a data set are missing.
    """

    def __init__(self, options: Options, processes: Processes, folder: Path | None = None) -> None:
        self.options, self.processes = options, processes
        self.folder = folder or Path('results') / options.name
        keys = [key for key in options.datasets if phase_of(key) != 'train']
        if not keys:
            raise OptionError('datasets: there is none for val or test, so nothing to evaluate')
        if options.path.pretrain_network_g is None:
            raise OptionError('path.pretrain_network_g: names no file, so there are no weights to evaluate')
        self.model = build_model(options, processes=processes)
        seed = options.manual_seed or 0
        self.datasets = {key: build_dataset(options.datasets[key], phase=phase_of(key), seed=seed) for key in keys}
        self.metrics = metrics_of(options)
        for label, metric in self.metrics.items():
            if metric.missing:
                logger.warning('val.metrics.%s is not scored: %s', label, metric.missing)
        self._samples = {
            key: first_sample(dataset, options.val.on_bad_image == 'skip') for key, dataset in self.datasets.items()
        }
        for key, dataset in self.datasets.items():
            self.model.require_fit(f'datasets.{key}', dataset, self._samples[key])

    def run(self, published: Published | None = None) -> list[Report]:
        """Evaluate all data sets, write reports and the gallery.

        Args:
            published: values of the paper by name of the data set and label, shown beside ours.

        Returns:
            one report for each data set, in the first process; none in the others.

        Raises:
            BasicsrError: an image cannot be read (with ``val.on_bad_image: raise``), or an output holds NaN.
            OSError: the folder cannot be written, or the disk is full.
        """
        reports = [self._run_one(key) for key in self.datasets]
        found = [report for report in reports if report is not None]
        if found:
            write_summary(self.folder, found, published)
            write_gallery(self.folder, found)
        return found

    def _run_one(self, key: str) -> Report | None:
        options, processes = self.options, self.processes
        dataset, name = self.datasets[key], options.datasets[key].name
        total, pictures = images_of(dataset, options.val), Pictures()
        metrics = self.metrics if 'gt' in self._samples[key] else {}
        definitions = [definition_of(label, metric) for label, metric in metrics.items()]
        rows = RowWriter(self.folder, name, definitions, total, pictures, processes.rank)
        with rows:
            results = evaluate(self.model, dataset, metrics, processes, options.val, with_input=True)
            for result in self._with_progress(results, name, total):
                self._take(result, rows, name)
        processes.wait()
        if not processes.is_first:
            return None
        weights = options.path.pretrain_network_g
        facts = facts_of_run(
            options.name,
            options.network_g.type,
            str(options.source or ''),
            None if weights is None else Path(weights),
            str(processes.device),
        )
        report = join(self.folder, facts, name, definitions, total, pictures, processes.world)
        write_report(self.folder, report)
        return report

    def _take(self, result: Evaluated | Unreadable, rows: RowWriter, dataset: str) -> None:
        if isinstance(result, Unreadable):
            if self.options.val.on_bad_image == 'raise' or not isinstance(result.error, BasicsrError):
                raise result.error
            logger.warning('%s: left out: %s', result.name, result.error)
            rows.skip(result.name, str(result.error))
            return
        record = result.record
        rows.add(
            index=result.index,
            name=result.name,
            lq=record.array('lq'),
            output=record.array('output_uint8'),
            gt=record.gt,
            labels=result.labels,
            kernel=result.kernel,
            scores=_values(result.scores),
            input_scores=_values(result.input_scores),
            collapsed=result.scores[MCR].value > 0 if MCR in result.scores else None,
            seconds=result.seconds,
            tiled=result.tile is not None,
            group=result.group,
            marks=[f'{label}: {mark}' for label, score in result.scores.items() for mark in score.marks],
        )
        if self.options.val.save_img:
            path = self.folder / 'visualization' / dataset / f'{result.name}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            imwrite(path, record.array('output_uint8'))

    def _with_progress(self, results: Iterable[Any], name: str, total: int) -> Iterator[Any]:
        from tqdm import tqdm

        share = len(range(self.processes.rank, total, self.processes.world))
        yield from tqdm(
            results, name, share, unit='image', dynamic_ncols=True, disable=None if self.processes.is_first else True
        )


def metrics_of(options: Options) -> dict[str, Metric]:
    """The metrics of an evaluation by label: those of ``val.metrics``, then PSNR, SSIM and MCR where they are missing.

    The mode collapse rate goes by the label ``MCR``, whatever the option file calls it. One that is added goes by its
    name, or by ``<name>_default`` if another metric has that label.

    Args:
        options: ``val.metrics``, ``val.use_image`` and ``mode`` count.

    Raises:
        OptionError: another metric has the label of the mode collapse rate.
    """
    metrics: dict[str, Metric] = {}
    for label, block in options.val.metrics.items():
        metric = build_metric(block, options.val.use_image)
        if label == MCR and metric.name != MCR:
            raise OptionError(
                f'val.metrics.{label}: reports give this label to the mode collapse rate; choose another one for '
                f'{metric.name}'
            )
        if metric.name == MCR and MCR in metrics:
            logger.warning('val.metrics.%s: a report has one mode collapse rate; this one is taken', label)
        metrics[MCR if metric.name == MCR else label] = metric
    listed = {metric.name for metric in metrics.values()}
    for name in (name for name in ALWAYS if name not in listed):
        standard: dict[str, Any] = {'type': name}
        if options.mode == 'reference':
            standard = reference.apply('metric', standard)
        metrics[f'{name}_default' if name in metrics else name] = build_metric(standard, options.val.use_image)
    return metrics


def _values(scores: Mapping[str, Any]) -> dict[str, float]:
    return {label: score.value for label, score in scores.items() if label != MCR}
