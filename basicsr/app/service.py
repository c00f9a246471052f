"""Deblur photos for the page: networks and mask generators by name, and reduced images for the screen."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from basicsr.app.screen import show, show_regions, shrunk
from basicsr.deconvolution.kernels import kernel_image
from basicsr.images.files import imwrite
from basicsr.images.photo import Photo, load_photo
from basicsr.inference.deblurrer import Deblurrer
from basicsr.inference.pretrained import DEFAULT, FOLDER, SUFFIXES, find_weights, named_weights
from basicsr.masks.cache import MaskCache
from basicsr.masks.generator import MaskGenerator, block_of_flags, build_generator
from basicsr.photos.jobs import Inputs, plan
from basicsr.photos.runs import run_photo
from basicsr.utils.console import advice
from basicsr.utils.device import is_out_of_memory, select_device
from basicsr.utils.errors import BasicsrError, ImageFileError, OptionError, WeightsError

logger = logging.getLogger(__name__)

SUFFIX = '_deblurred'
"""Suffix of the names of results, as in ``basicsr/deblur.py``."""
SAM, NO_MASKS = 'sam', 'none'
_LONGEST_NAME = 120  # bytes of the stem
_KEPT_NETWORKS = 2


@dataclass(frozen=True)
class NetworkFacts:
    """Properties of a network that the page shows.

    Args:
        takes_masks: whether it uses masks.
        mask_value: weight of a masked pixel, rounded; None if masks have no weight.
        finds_kernel: whether it estimates the blur kernel of an image.
    """

    takes_masks: bool = False
    mask_value: float | None = None
    finds_kernel: bool = False


@dataclass(frozen=True)
class ShownResult:
    """Files and messages that the page shows for a deblurred photo.

    Args:
        before: the photo for the screen, JPEG.
        after: the result for the screen, JPEG.
        result: the result in full resolution, as the command line writes it.
        regions: the photo with its regions; None for networks without masks.
        count: number of regions that the network used.
        kernel: image of the blur kernel; None for networks that estimate none.
        line: size, time and conversions on one line.
        warning: message about a collapse; empty without one.
    """

    before: Path
    after: Path
    result: Path
    regions: Path | None
    count: int
    kernel: Path | None
    line: str
    warning: str = ''


class Service:
    """Deblurs photos for the page; several threads may call it.

    Args:
        shown: folder that browsers may read: uploads and results.
        private: folder that they may not read: cached masks.
        model: a network file or the name of one, offered first; None offers the bundled network first.
        sam_checkpoint: Segment Anything weights; without them, choosing its masks is an error.
        max_megapixels: larger photos are rejected.
        device: as for :class:`~basicsr.inference.deblurrer.Deblurrer`.
        weights: folder of named networks; None as in ``named_weights``.

    Attributes:
        networks: network files by name, in the order of the page; empty if there are none, see ``problem``.
        problem: message about missing networks.
        generators: names of mask generators.

    Raises:
        WeightsError: no such network, or the Segment Anything weights cannot be read.
        OptionError: no such device, or a wrong size.
    """

    def __init__(
        self,
        shown: Path,
        private: Path,
        *,
        model: str | None = None,
        sam_checkpoint: str | None = None,
        max_megapixels: float = 24.0,
        device: str = 'auto',
        weights: Path | None = None,
    ) -> None:
        if not max_megapixels > 0:
            raise OptionError(f'--max-megapixels: expected a number above 0, got {max_megapixels:g}')
        self.shown, self.device, self.max_megapixels = shown, device, max_megapixels
        select_device(device)
        self.networks = _networks(model, weights)
        self.problem = '' if self.networks else _no_network(weights)
        self._generators = _generators(sam_checkpoint, device)
        self.generators = (*{**self._generators, SAM: None}, NO_MASKS)
        self._cache = MaskCache(private / 'masks')
        self._deblurrer = lru_cache(_KEPT_NETWORKS)(self._load)

    def about(self, network: str) -> NetworkFacts:
        """Return the properties of a network.

        Raises:
            WeightsError: its file cannot be read, or the network does not map an RGB image to an RGB image.
        """
        deblurrer = self._deblurrer(network, 'felzenszwalb')
        return NetworkFacts(deblurrer.takes_masks, _slider_value(deblurrer), deblurrer.finds_kernel)

    def look(self, source: Path) -> tuple[Path, str]:
        """Return an image of an upload for the screen, and its size and format.

        Raises:
            ImageFileError: not a readable photo, or too large.
        """
        photo = load_photo(_existing(source), self._max_pixels)
        shown = self._new_folder() / 'photo.jpg'
        show(shown, photo)
        height, width = photo.pixels.shape[:2]
        return shown, f'{width}×{height}, {_format(photo)}'

    def deblur(
        self, source: Path, name: str, network: str, generator: str = 'felzenszwalb', **weighing: Any
    ) -> ShownResult:
        """Deblur a photo.

        Args:
            source: path of the upload.
            name: its original file name; any text.
            network: one of ``networks``.
            generator: one of ``generators``.
            **weighing: ``mask_dropout``, ``mask_value`` and ``seed``, as for the deblurrer. The network's own mask
                value as the slider rounds it is the exact value.

        Raises:
            BasicsrError: the photo cannot be read or deblurred. :func:`reason` removes ``source`` from the message.
            OSError: the disk is full.
            RuntimeError: even the smallest tiles do not fit into memory.
        """
        start = time.perf_counter()
        masks = generator != NO_MASKS and self.about(network).takes_masks
        deblurrer = self._deblurrer(network, generator if masks else 'felzenszwalb')
        folder = self._new_folder()
        job = replace(plan(Inputs([Path(safe_name(name))]), folder, SUFFIX)[0], source=_existing(source))
        assert job.output is not None  # noqa: S101 - photos always have one
        if weighing.get('mask_value') == _slider_value(deblurrer):
            weighing['mask_value'] = None
        done = run_photo(deblurrer, job, 'auto' if masks else 'none', self._max_pixels, **weighing)
        before, after, kernel = folder / 'before.jpg', folder / 'after.jpg', None
        show(before, done.photo)
        show(after, done.result)
        regions, count = show_regions(folder / 'regions.jpg', done.photo, done.details)
        if done.details.kernel is not None:
            kernel = folder / 'kernel.png'
            imwrite(kernel, kernel_image(done.details.kernel, zoom=8))
        how = f'{done.summary(time.perf_counter() - start)} with {network} on {deblurrer.device}'
        line = '; '.join((f'{job.output.name}: {_format(done.photo)}, {how}', *done.notes, *shrunk(done.photo)))
        return ShownResult(before, after, job.output, regions, count, kernel, line, done.warning)

    @property
    def _max_pixels(self) -> int:
        return round(self.max_megapixels * 1e6)

    def _new_folder(self) -> Path:
        """Create a folder with an address that cannot be guessed."""
        folder = self.shown / secrets.token_hex(16)
        folder.mkdir()
        return folder

    def _load(self, network: str, generator: str) -> Deblurrer:
        if network not in self.networks:
            raise OptionError(f'unknown network {network!r}')
        if generator == SAM and SAM not in self._generators:
            raise OptionError(
                'the sam masks require Segment Anything weights: choose other masks, or start the page with '
                '--sam-checkpoint FILE'
            )
        if generator not in self._generators:
            raise OptionError(f'unknown mask generator {generator!r}')
        return Deblurrer.load(
            self.networks[network], device=self.device, generator=self._generators[generator], cache=self._cache
        )


def reason(error: Exception, source: Path | None = None) -> str:
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
    return text if source is None else text.replace(f'{source}: ', '').replace(str(source), 'the photo')


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


def _slider_value(deblurrer: Deblurrer) -> float | None:
    """Return the weight of a masked pixel, rounded like the slider of the page; None if masks have no weight."""
    return None if deblurrer.mask_value is None else round(float(deblurrer.mask_value), 3)


def _networks(model: str | None, weights: Path | None) -> dict[str, Path]:
    known = named_weights(weights)
    if model is not None:
        path = find_weights(model)
        same = (name for name, other in known.items() if other.resolve() == path.resolve())
        first = next(same, path.name if path.stem in known else path.stem)
        return {first: path, **{name: other for name, other in known.items() if name != first}}
    return dict(sorted(known.items(), key=lambda item: item[0] != DEFAULT))


def _no_network(weights: Path | None) -> str:
    try:
        find_weights(None)
        what = f'{weights or FOLDER} contains no network file ({", ".join(SUFFIXES)})'
    except WeightsError as error:
        what = str(error)
    return f'No network found: {what}; or pass one with --model FILE.'


def _generators(sam_checkpoint: str | None, device: str) -> Mapping[str, MaskGenerator]:
    found = {'felzenszwalb': build_generator(block_of_flags('felzenszwalb', None, device, []))}
    if sam_checkpoint is not None:
        found[SAM] = build_generator(block_of_flags(SAM, sam_checkpoint, device, ['model=auto']))
    return found


def _existing(upload: Path) -> Path:
    if not upload.is_file():
        raise ImageFileError('the photo was deleted from this page; upload it again')
    return upload


def _format(photo: Photo) -> str:
    kind = 'gray ' if photo.pixels.shape[2] == 1 else ''
    return f'{kind}{photo.stored.format}, {8 * photo.pixels.itemsize} bits'
