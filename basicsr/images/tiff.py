"""Read TIFF files: one reader for training, evaluation, masks and photos."""

from __future__ import annotations

import io
import logging
import math
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from basicsr.images.headers import MAX_PIXELS, too_many_pixels
from basicsr.images.pixels import Planes
from basicsr.images.tiff_pixels import planes_of_page, require_supported
from basicsr.utils.errors import ImageFileError

if TYPE_CHECKING:
    import tifffile

DEVELOP = 'a camera raw file; develop it to TIFF or JPEG first'
"""The error for camera raw files."""

_REDUCED, _PAGE_MASK = 1, 4  # bits of NewSubfileType (254)
_SUBFILE, _OLD_SUBFILE, _ORIENTATION, _LAYERS, _DNG_VERSION = 254, 255, 274, 37724, 50706
_YCBCR = 6
_RAW = (32803, 34892)  # photometric interpretations: colour filter array, linear raw
_RATIOS = {1: 1.0, 5: 2600.0, 8: 1032.0, 32946: 1032.0, 32773: 64.0}  # highest compression ratios

_MAX_PAGES = 1000  # a chain of directories may be long, or a circle

_quiet: ContextVar[bool] = ContextVar('quiet', default=False)


@dataclass(frozen=True)
class Tiff:
    """The image of a TIFF file.

    Args:
        planes: colours and transparency, as stored (not turned upright).
        orientation: EXIF orientation, 1 to 8.
        compression: value of the tag 259.
        byte_order: ``<`` or ``>``.
        directories: offsets of the directories with its tags, its own last.
        notes: conversions and dropped data, in words.
    """

    planes: Planes
    orientation: int
    compression: int
    byte_order: str
    directories: tuple[int, ...]
    notes: tuple[str, ...]


def read_tiff(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Tiff:
    """Read the image of a TIFF file of any layout, byte order, compression and predictor that tifffile decodes.

    Reduced images (thumbnails, pyramids) and transparency masks do not count as pages. Samples of 1 to 8 bits become
    8 bits, of 9 to 16 bits 16 bits. Premultiplied colours become straight. Extra channels other than alpha are dropped.

    Args:
        data: content of the file.
        name: for error messages.
        max_pixels: maximum number of pixels.

    Raises:
        ImageFileError: damaged, cut off, too large, camera raw, several pages, or samples of a different kind (signed,
            floating point, 32 bits, CIE LogLuv, ...), which the message names.
    """
    with _opened(io.BytesIO(data), name) as file:
        page, notes = _main_page(file, name, len(data), max_pixels)
        try:
            planes = planes_of_page(page, data, name)
        except ImageFileError:
            raise
        except MemoryError as error:
            raise ImageFileError(f'{name}: there is not enough memory to decode it') from error
        except Exception as error:
            kind = getattr(page.compression, 'name', page.compression)
            raise ImageFileError(f'{name}: damaged, or of an unsupported compression ({kind}: {error})') from error
        offsets = tuple(dict.fromkeys((int(file.pages[0].offset), int(page.offset))))
        if planes.note:
            notes += (planes.note,)
        return Tiff(planes, _orientation(page), int(page.compression), file.byteorder, offsets, notes)


def tiff_size(data: mmap.mmap, name: str) -> tuple[int, int]:
    """Return the upright size (H, W) of the image that :func:`read_tiff` returns, without decoding it.

    Raises:
        ImageFileError: as in :func:`read_tiff`, except for damage that only decoding detects.
    """
    data.seek(0)
    with _opened(data, name) as file:
        page, _ = _main_page(file, name, len(data), MAX_PIXELS)
        height, width = int(page.imagelength), int(page.imagewidth)
        return (width, height) if _orientation(page) >= 5 else (height, width)


@contextmanager
def _opened(file: Any, name: str) -> Iterator[tifffile.TiffFile]:
    """Open a file without the log lines of tifffile, and convert its errors."""
    import tifffile

    logger = logging.getLogger('tifffile')
    if _not_quiet not in logger.filters:
        logger.addFilter(_not_quiet)
    token = _quiet.set(True)
    try:
        with tifffile.TiffFile(file) as opened:
            yield opened
    except ImageFileError:
        raise
    except Exception as error:
        raise ImageFileError(f'{name}: damaged ({type(error).__name__}: {error})') from error
    finally:
        _quiet.reset(token)


def _not_quiet(record: logging.LogRecord) -> bool:
    """Filter the log of tifffile while this module reads: it raises errors instead."""
    return not _quiet.get()


def _main_page(file: tifffile.TiffFile, name: str, length: int, max_pixels: int) -> tuple[Any, tuple[str, ...]]:
    """Return the page with the image, after checking it, and notes about the others."""
    pages: list[Any] = []
    masks = False
    for page in _all_pages(file, name):
        if _DNG_VERSION in page.tags or page.photometric in _RAW:
            raise ImageFileError(f'{name}: {DEVELOP}')
        kind = _subfile_type(page)
        masks = masks or bool(kind & _PAGE_MASK)
        if not kind & (_REDUCED | _PAGE_MASK):
            pages.append(page)
    if not pages:
        reason = f'only a thumbnail; it may be {DEVELOP}' if file.pages else 'no image; it is damaged'
        raise ImageFileError(f'{name}: contains {reason}')
    about = file.imagej_metadata if file.is_imagej else None  # ImageJ may store further images after the only page
    count = max(len(pages), int((about or {}).get('images', 1)))
    if count > 1:
        raise ImageFileError(f'{name}: contains {count} pages; save each page as a file of its own')
    _require_whole(pages[0], length, name, max_pixels)
    require_supported(pages[0], name)
    notes = ('its transparency mask is dropped',) if masks else ()
    return pages[0], (*notes, 'its layers are dropped') if _LAYERS in pages[0].tags else notes


def _all_pages(file: tifffile.TiffFile, name: str) -> Iterator[Any]:
    """Yield the pages of the chain, each followed by its sub-images, except for its pyramid."""
    pages: Any = file.pages
    seen: set[int] = set()
    for page in pages:
        if page.offset in seen or len(seen) >= _MAX_PAGES:
            raise ImageFileError(f'{name}: damaged (its page list is circular or has more than {_MAX_PAGES} pages)')
        seen.add(page.offset)
        yield page
        for child in page.pages or ():
            # the children of a page are its pyramid, unless the page itself is the small one
            if child is not None and (_subfile_type(page) & _REDUCED or child.photometric in _RAW):
                yield child


def _subfile_type(page: Any) -> int:
    return int(page.tags.valueof(_SUBFILE, _REDUCED if page.tags.valueof(_OLD_SUBFILE) == 2 else 0))


def _orientation(page: Any) -> int:
    value = page.tags.valueof(_ORIENTATION)
    return int(value) if value in range(1, 9) else 1


def _require_whole(page: Any, length: int, name: str, max_pixels: int) -> None:
    """Refuse a page that is too large, or whose strips or tiles are missing or too short."""
    height, width = int(page.imagelength), int(page.imagewidth)
    if height * width > max_pixels:
        raise too_many_pixels(name, max_pixels)
    if min(height, width) < 1 or page.imagedepth != 1:
        raise ImageFileError(f'{name}: damaged, or not flat ({width}×{height}×{page.imagedepth})')
    sizes = tuple(zip(page.dataoffsets, page.databytecounts, strict=False))
    expected = math.prod(map(int, page.chunked))
    if len(sizes) < expected:
        raise ImageFileError(f'{name}: damaged ({len(sizes)} of {expected} strips or tiles are listed)')
    if any(count < 1 or offset + count > length for offset, count in sizes[:expected]):
        raise ImageFileError(f'{name}: damaged: it is cut off after {length} bytes; copy it again')
    bits = page.bitspersample if isinstance(page.bitspersample, int) else max(page.bitspersample)
    ratio = None if page.photometric == _YCBCR else _RATIOS.get(int(page.compression))  # chroma may be subsampled
    stored = sum(count for _, count in sizes[:expected])
    if ratio is not None and height * width * int(page.samplesperpixel) * bits / 8 > ratio * (stored + 1):
        raise ImageFileError(f'{name}: damaged (it claims {width}×{height} pixels, more than its data can hold)')
