"""What the page does, without the page: networks by name, one photo deblurred, pictures of it for the screen."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from basicsr.app.screen import show, show_regions, shrunk
from basicsr.archs.contract import contract_of
from basicsr.deconvolution.kernels import kernel_picture
from basicsr.images.files import imwrite
from basicsr.images.photo import Photo, load_photo
from basicsr.images.photo_files import save_photo
from basicsr.inference.deblurrer import Deblurrer
from basicsr.inference.pretrained import DEFAULT, FOLDER, SUFFIXES, find_weights, named_weights
from basicsr.masks.cache import MaskCache
from basicsr.masks.generator import MaskGenerator, block_of_flags, build_generator
from basicsr.photos.jobs import Inputs, plan
from basicsr.photos.runs import deblur_photo
from basicsr.utils.console import advice
from basicsr.utils.device import is_out_of_memory, select_device
from basicsr.utils.errors import BasicsrError, ImageFileError, OptionError, WeightsError

logger = logging.getLogger(__name__)

SUFFIX = '_deblurred'
"""Added to the names of results, as ``basicsr/deblur.py`` does."""
SAM, NO_MASKS = 'sam', 'none'
_LONGEST_NAME = 120  # bytes of the stem
_KEPT_NETWORKS = 2


@dataclass(frozen=True)
class Settings:
    """What a user has chosen.

    Args:
        network: one of the service's.
        generator: one of the service's, or ``none``.
        mask_dropout: share of the regions to drop, 0 to 1.
        mask_value: what a covered pixel weighs; None, or the network's own as :func:`shown_value` rounds it, is the
            network's own.
        seed: of the choice of regions to drop.
    """

    network: str
    generator: str = 'felzenszwalb'
    mask_dropout: float = 0.0
    mask_value: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Network:
    """What the page has to know about a network.

    Args:
        takes_masks: whether it looks at masks.
        mask_value: what a covered pixel weighs in it, rounded; None if it weighs none.
        finds_kernel: whether it finds the blur kernel of a picture.
    """

    takes_masks: bool
    mask_value: float | None
    finds_kernel: bool


@dataclass(frozen=True)
class Outcome:
    """The files that came of a photo, and what there is to tell.

    Args:
        before: the photo for the screen, JPEG.
        after: the same deblurred.
        result: in full resolution, as the command line writes it.
        regions: the photo with its masks; None for networks that take none.
        count: number of regions that the network was given.
        kernel: picture of the blur kernel; None for networks that find none.
        line: sizes, seconds and what was changed, in words.
        warning: what the guard found; empty if all is well.
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
        shown: folder of what browsers may fetch: uploads, results.
        private: folder of what they may not: masks for the next run.
        model: a network file or the name of one, chosen first; None is the network of the repository.
        sam_checkpoint: weights of Segment Anything; without them its masks are not offered.
        max_megapixels: larger photos are refused.
        device: as for :class:`~basicsr.inference.deblurrer.Deblurrer`.
        weights: folder of the networks with names; None as in ``named_weights``.

    Attributes:
        networks: files by name, the one chosen first in front; may be empty, ``problem`` says what to do then.
        generators: names of what makes masks; Segment Anything is named without weights too, and says that it needs
            them when it is asked.

    Raises:
        WeightsError: there is no such network, or Segment Anything's weights cannot be read.
        OptionError: no such device, or no size.
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
            raise OptionError(f'--max-megapixels is a number above 0, not {max_megapixels:g}')
        self.shown, self.device, self.max_megapixels = shown, device, max_megapixels
        select_device(device)
        self.networks = _networks(model, weights)
        self.problem = '' if self.networks else _no_network(weights)
        self._generators = _generators(sam_checkpoint, device)
        self.generators = (*{**self._generators, SAM: None}, NO_MASKS)
        self._cache = MaskCache(private / 'masks')
        self._deblurrer = lru_cache(_KEPT_NETWORKS)(self._load)

    def about(self, network: str) -> Network:
        """What a network is.

        Raises:
            WeightsError: its file cannot be read, or is not for ordinary photos.
        """
        deblurrer = self._deblurrer(network, 'felzenszwalb')
        return Network(deblurrer.takes_masks, shown_value(deblurrer), deblurrer.finds_kernel)

    def look(self, source: Path) -> tuple[Path, str]:
        """A picture of an upload for the screen, and what it is in words.

        Raises:
            ImageFileError: no photo, or too large.
        """
        photo = self._read(source)
        shown = self._new_folder() / 'photo.jpg'
        show(shown, photo)
        return shown, _describe(photo)

    def deblur(self, source: Path, name: str, settings: Settings) -> Outcome:
        """Deblur a photo.

        Args:
            source: the upload.
            name: what its owner calls it; any text.
            settings: what its owner has chosen.

        Raises:
            BasicsrError: the photo cannot be read or deblurred; the message may hold ``source`` (see :func:`reason`).
            OSError: the disk is full.
            RuntimeError: not even the smallest tiles fit into the memory.
        """
        start = time.perf_counter()
        photo = self._read(source)
        masks = settings.generator != NO_MASKS and self.about(settings.network).takes_masks
        deblurrer = self._deblurrer(settings.network, settings.generator if masks else 'felzenszwalb')
        value = settings.mask_value
        result, details = deblur_photo(
            deblurrer,
            photo,
            'auto' if masks else 'none',
            mask_dropout=settings.mask_dropout,
            mask_value=None if value == shown_value(deblurrer) else value,
            seed=settings.seed,
        )
        folder = self._new_folder()
        output = plan(Inputs([Path(safe_name(name))]), folder, SUFFIX)[0].output
        assert output is not None  # noqa: S101 - photos always have one
        notes = (*photo.notes, *save_photo(output, result))
        before, after = folder / 'before.jpg', folder / 'after.jpg'
        show(before, photo)
        show(after, result)
        regions, count = show_regions(folder / 'regions.jpg', photo, details)
        kernel = None
        if details.kernel is not None:
            kernel = folder / 'kernel.png'
            imwrite(kernel, kernel_picture(details.kernel, zoom=8))
        seconds = time.perf_counter() - start
        of_masks = f' (masks {details.mask_seconds:.1f} s)' if masks and details.labels is not None else ''
        how = f'{seconds:.1f} s{of_masks} with {settings.network} on {deblurrer.device}'
        tiles = () if details.tile is None else (f'tiles of {details.tile} pixels',)
        line = '; '.join((f'{output.name}: {_describe(photo)}, {how}', *tiles, *notes, *shrunk(photo)))
        return Outcome(before, after, output, regions, count, kernel, line, details.warning)

    def _read(self, source: Path) -> Photo:
        if not source.is_file():
            raise ImageFileError('the photo is no longer here; upload it again')
        return load_photo(source, round(self.max_megapixels * 1e6))

    def _new_folder(self) -> Path:
        """A folder whose address nobody can guess."""
        folder = self.shown / secrets.token_hex(16)
        folder.mkdir()
        return folder

    def _load(self, network: str, generator: str) -> Deblurrer:
        if network not in self.networks:
            raise OptionError(f'there is no network {network!r} here')
        if generator not in self._generators:
            advice = 'the weights of Segment Anything: start the page with --sam-checkpoint FILE, or choose other masks'
            raise OptionError(f'masks of {generator} need {advice}' if generator == SAM else f'no {generator!r} here')
        return Deblurrer.load(
            self.networks[network], device=self.device, generator=self._generators[generator], cache=self._cache
        )


def reason(error: Exception, source: Path | None = None) -> str:
    """What a user is told about an error; what nobody foresaw is logged.

    Args:
        error: of :class:`Service`.
        source: the upload; its path says nothing to its owner and is left out.
    """
    if isinstance(error, BasicsrError):
        text = str(error)
    elif is_out_of_memory(error):
        text = 'there is not enough memory for it; scale it down or cut it'
    else:
        try:
            if not isinstance(error, OSError):
                raise error
            text = advice(error)
        except Exception:
            logger.exception('the page failed')
            text = 'it failed in a way that nobody foresaw; the log of the server says more'
    return text if source is None else text.replace(f'{source}: ', '').replace(str(source), 'the photo')


def safe_name(name: str) -> str:
    """A file name like that of an upload, without folders, control characters or excessive length.

    Args:
        name: any text.
    """
    base = re.sub(r'[\x00-\x1f\x7f]', '', re.split(r'[/\\]', name)[-1]).strip()
    path = Path(base)
    if base in ('', '.', '..') or not path.stem.strip('.'):
        return f'photo{path.suffix}'
    stem = path.stem.encode('utf-8', 'replace')[:_LONGEST_NAME].decode('utf-8', 'ignore')
    return f'{stem}{path.suffix[:16]}'


def shown_value(deblurrer: Deblurrer) -> float | None:
    """What a covered pixel weighs in a network, rounded as the page's slider does; None if it weighs none."""
    value = contract_of(deblurrer.net).mask_value
    return None if value is None else round(float(value), 3)


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
        what = f'{weights or FOLDER} holds none ({", ".join(SUFFIXES)})'
    except WeightsError as error:
        what = str(error)
    return f'There is no network to deblur with: {what}; or name one with --model FILE.'


def _generators(sam_checkpoint: str | None, device: str) -> Mapping[str, MaskGenerator]:
    found = {'felzenszwalb': build_generator(block_of_flags('felzenszwalb', None, device, []))}
    if sam_checkpoint is not None:
        found[SAM] = build_generator(block_of_flags(SAM, sam_checkpoint, device, ['model=auto']))
    return found


def _describe(photo: Photo) -> str:
    height, width, channels = photo.pixels.shape
    kind = 'gray ' if channels == 1 else ''
    return f'{width}×{height}, {kind}{photo.stored.format}, {8 * photo.pixels.itemsize} bits'
