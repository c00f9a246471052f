"""Deblur photos for the page, in its worker process."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from basicsr.app.examples import make_examples
from basicsr.app.facts import FELZENSZWALB, NO_MASKS, SAM, Report, Settings, ShownResult
from basicsr.app.networks import slider_value
from basicsr.app.screen import format_of, show, show_regions, shrunk
from basicsr.deconvolution.kernels import kernel_image
from basicsr.images.files import imread, imwrite
from basicsr.images.photo_files import result_suffix
from basicsr.inference.deblurrer import Deblurrer
from basicsr.masks.cache import MaskCache
from basicsr.masks.generator import MaskGenerator, block_of_flags, build_generator
from basicsr.photos.jobs import Job
from basicsr.photos.runs import run_photo
from basicsr.utils.console import advice
from basicsr.utils.device import is_out_of_memory, select_device
from basicsr.utils.errors import BasicsrError, ImageFileError, OptionError
from basicsr.utils.measure import peak_memory

logger = logging.getLogger(__name__)

SUFFIX = '_deblurred'
"""Suffix of the names of results, as in ``basicsr/deblur.py``."""
_LONGEST_NAME = 120  # bytes of the stem
_KEPT_NETWORKS = 2


class Service:
    """Deblurs photos.

    Args:
        private: folder for cached masks.
        sam_checkpoint: Segment Anything weights; without them, choosing its masks is an error.
        max_megapixels: larger photos are rejected.
        device: as for :class:`~basicsr.inference.deblurrer.Deblurrer`.

    Raises:
        WeightsError: the Segment Anything weights cannot be read.
        OptionError: no such device.
    """

    def __init__(
        self, private: Path, sam_checkpoint: str | None = None, max_megapixels: float = 24.0, device: str = 'auto'
    ) -> None:
        select_device(device)
        self.device, self._max_pixels = device, round(max_megapixels * 1e6)
        self._generators = _generators(sam_checkpoint, device)
        self._cache = MaskCache(private / 'masks')
        self._deblurrer = lru_cache(_KEPT_NETWORKS)(self._load)

    def ready(self, report: Report) -> None:
        """Do nothing: the process has started."""

    def examples(self, folder: Path, report: Report) -> list[Path]:
        """Make the example photos, see :func:`~basicsr.app.examples.make_examples`."""
        return make_examples(folder)

    def deblur(
        self,
        source: Path,
        name: str,
        network: Path,
        settings: Settings,
        folder: Path,
        report: Report = lambda step, done, total: None,
    ) -> ShownResult:
        """Deblur a photo.

        Args:
            source: the upload, with its original extension.
            name: its original file name; any text.
            network: the network file.
            settings: of the page. The network's own mask value as the slider rounds it is the exact value.
            folder: for the results.
            report: called with ``kernel`` or ``tile`` and the finished and the total number.

        Raises:
            BasicsrError: the photo cannot be read or deblurred. :func:`reason` removes ``source`` from the message.
            OSError: the disk is full.
            RuntimeError: even the smallest tiles do not fit into memory.
        """
        start = time.perf_counter()
        report('loading', 0, 0)
        if not source.is_file():
            raise ImageFileError('the photo was deleted from this page; upload it again')
        deblurrer, masks = self._prepared(network, settings)
        job = Job(source, folder / f'{Path(safe_name(name)).stem}{SUFFIX}{result_suffix(source)}')
        weighing: dict[str, Any] = {'mask_dropout': settings.mask_dropout, 'seed': settings.seed}
        if settings.mask_value != slider_value(deblurrer):
            weighing['mask_value'] = settings.mask_value
        steps = {'progress': partial(report, 'kernel'), 'tiles': partial(report, 'tile')}
        run = partial(run_photo, deblurrer, job, masks, self._max_pixels, **weighing, **steps)
        report('network' if settings.method == 'network' else 'kernel', 0, 0)
        done, memory = peak_memory(run, deblurrer.device, total=True)
        seconds = time.perf_counter() - start
        report('showing', 0, 0)
        assert job.output is not None  # noqa: S101 - it was given above
        before, after, pixels = folder / 'before.jpg', folder / 'after.jpg', folder / 'pixels.png'
        show(before, done.photo)
        show(after, done.result)
        imwrite(pixels, done.result.pixels)
        details, kernel, regions, count = done.details, None, None, 0
        if 'network' in details.method:
            regions, count = show_regions(folder / 'regions.jpg', done.photo, details)
        if details.kernel is not None:
            kernel = folder / 'kernel.png'
            imwrite(kernel, kernel_image(details.kernel, zoom=4))
        height, width = done.photo.pixels.shape[:2]
        return ShownResult(
            before,
            after,
            job.output,
            pixels,
            (width, height),
            details.method,
            details.explanation,
            details.assessment is not None and details.assessment.kind == 'sharp',
            regions,
            count,
            kernel,
            seconds,
            memory,
            f'{width}×{height}, {format_of(done.photo)}',
            f'{done.summary(seconds).removeprefix(f"{width}×{height}").lstrip(", ")}, on {deblurrer.device}',
            (*done.notes, *shrunk(done.photo)),
            done.warning,
        )

    def sample(
        self, photo: Path, network: Path, method: str, folder: Path, report: Report = lambda step, done, total: None
    ) -> Path:
        """Deblur a small photo and write the result for the screen.

        Args:
            photo: the photo.
            network: the network file.
            method: as in :class:`~basicsr.app.facts.Settings`.
            folder: for the result, a JPEG file.
            report: as for :meth:`deblur`.
        """
        deblurrer, masks = self._prepared(network, Settings('', method))
        path = folder / 'sample.jpg'
        imwrite(path, deblurrer.deblur(imread(photo), masks).image)
        return path

    def _prepared(self, network: Path, settings: Settings) -> tuple[Deblurrer, str]:
        """Return the deblurrer and the mask mode for settings."""
        deblurrer = self._deblurrer(network, FELZENSZWALB)
        masks = deblurrer.takes_masks and settings.masks != NO_MASKS and settings.method != 'kernel'
        if masks and settings.masks != FELZENSZWALB:
            deblurrer = self._deblurrer(network, settings.masks)
        deblurrer.method = settings.method  # type: ignore[assignment]
        return deblurrer, 'auto' if masks else 'none'

    def _load(self, network: Path, generator: str) -> Deblurrer:
        if generator == SAM and SAM not in self._generators:
            raise OptionError(
                'Masks: sam requires Segment Anything weights; choose other masks, or start the page with '
                '--sam-checkpoint FILE'
            )
        if generator not in self._generators:
            raise OptionError(f'Masks: unknown mask generator {generator!r}')
        return Deblurrer.load(network, device=self.device, generator=self._generators[generator], cache=self._cache)


def reason(error: Exception, source: Any = None, *_: Any) -> str:
    """Return the message to show for an error; log unexpected ones.

    Args:
        error: raised by :class:`Service`.
        source: the upload; its path is removed from the message.
    """
    if isinstance(error, BasicsrError):
        text = str(error)
    elif is_out_of_memory(error):
        text = 'not enough memory; scale the photo down or crop it'
    else:
        try:
            if not isinstance(error, OSError):
                raise error
            text = advice(error)
        except Exception:
            logger.exception('unexpected error on the page')
            text = 'unexpected error; see the server log'
    if not isinstance(source, Path):
        return text
    return text.replace(f'{source}: ', '').replace(str(source), 'the photo').replace(f'{source.parent}/', '')


def safe_name(name: str) -> str:
    """Return the file name of an upload without folders and control characters, and shortened if necessary.

    Args:
        name: any text.
    """
    base = re.sub(r'[\x00-\x1f\x7f]', '', re.split(r'[/\\]', name)[-1]).strip()
    path = Path(base)
    if base in ('', '.', '..') or not path.stem.strip('.'):
        return f'photo{path.suffix}'
    stem = path.stem.encode('utf-8', 'replace')[:_LONGEST_NAME].decode('utf-8', 'ignore')
    return f'{stem}{path.suffix[:16]}'


def _generators(sam_checkpoint: str | None, device: str) -> Mapping[str, MaskGenerator]:
    found = {FELZENSZWALB: build_generator(block_of_flags(FELZENSZWALB, None, device, []))}
    if sam_checkpoint is not None:
        found[SAM] = build_generator(block_of_flags(SAM, sam_checkpoint, device, ['model=auto']))
    return found
