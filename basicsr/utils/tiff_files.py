"""Read TIFF files for what they say: one reader for training, evaluation, masks and photos."""

from __future__ import annotations

import io
import logging
import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from basicsr.utils.errors import ImageFileError
from basicsr.utils.image_headers import MAX_PIXELS, too_large
from basicsr.utils.pixels import Planes
from basicsr.utils.tiff_pixels import planes_of_samples, require_known

if TYPE_CHECKING:
    import tifffile

DEVELOP = 'a camera raw file; develop it to TIFF or JPEG first'
"""What to do about camera raw."""

_REDUCED, _PAGE_MASK = 1, 4  # bits of NewSubfileType (254)
_SUBFILE, _OLD_SUBFILE, _ORIENTATION, _LAYERS, _DNG_VERSION = 254, 255, 274, 37724, 50706
_YCBCR = 6
_RAW = (32803, 34892)  # photometric interpretations: colour filter array, linear raw
_SMALLEST = {1: 1.0, 5: 2600.0, 8: 1032.0, 32946: 1032.0, 32773: 64.0}  # compression: the most it can make of a byte

_MOST_PAGES = 1000  # a chain of directories may be long, or a circle

_quiet: ContextVar[bool] = ContextVar('quiet', default=False)


@dataclass(frozen=True)
class Tiff:
    """The image of a TIFF file.

    Args:
        planes: its colours and transparency, as stored (not turned).
        orientation: EXIF's 1 to 8.
        compression: number of the TIFF tag 259.
        byte_order: ``<`` or ``>``.
        directories: where the directories with its tags lie, its own last.
        notes: what was converted or left out, in words.
    """

    planes: Planes
    orientation: int
    compression: int
    byte_order: str
    directories: tuple[int, ...]
    notes: tuple[str, ...]


def read_tiff(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Tiff:
    """Read the one image of a TIFF file: any layout, byte order, compression and predictor that tifffile decodes.

    Reduced images (thumbnails, pyramids) and transparency masks are no pages. Samples of 1 to 8 bits become 8 bits,
    of 9 to 16 bits 16 bits; associated alpha is divided out; extra samples that are not alpha are left out.

    Args:
        data: the whole content of the file.
        name: for messages.
        max_pixels: larger images are refused.

    Raises:
        ImageFileError: damaged, cut off, too large, camera raw, several pages, or samples that cannot be shown
            faithfully (signed, floating point, 32 bits, CIE LogLuv, ...); they are named.
    """
    with _opened(io.BytesIO(data), name) as file:
        page, notes = _main_page(file, name)
        _require_whole(page, len(data), name, max_pixels)
        require_known(page, name)
        try:
            planes = planes_of_samples(page, data, name)
        except ImageFileError:
            raise
        except MemoryError as error:
            raise ImageFileError(f'{name}: there is not enough memory to decode it') from error
        except Exception as error:
            raise ImageFileError(
                f'{name}: damaged, or compressed in a way that is not read ({_compression(page)}: {error})'
            ) from error
        orientation = _orientation(page)
        more = (planes.note,) if planes.note else ()
        places = tuple(dict.fromkeys((int(file.pages[0].offset), int(page.offset))))
        return Tiff(planes, orientation, int(page.compression), file.byteorder, places, notes + more)


def tiff_size(data: bytes | mmap.mmap, name: str, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(H, W) of the image that :func:`read_tiff` returns, once it is turned upright; nothing is decoded.

    Raises:
        ImageFileError: as :func:`read_tiff`, except for damage that only decoding shows.
    """
    with _opened(_file_of(data), name) as file:
        page, _ = _main_page(file, name)
        _require_whole(page, len(data), name, max_pixels)
        require_known(page, name)
        height, width = int(page.imagelength), int(page.imagewidth)
        return (width, height) if _orientation(page) >= 5 else (height, width)


def _file_of(data: bytes | mmap.mmap) -> Any:
    if isinstance(data, bytes):
        return io.BytesIO(data)
    data.seek(0)
    return data


@contextmanager
def _opened(file: Any, name: str) -> Iterator[tifffile.TiffFile]:
    """The file, without the log lines of the library; its errors become ours."""
    import tifffile

    logger = logging.getLogger('tifffile')
    if _drop not in logger.filters:
        logger.addFilter(_drop)
    token = _quiet.set(True)
    try:
        with tifffile.TiffFile(file) as opened:
            yield opened
    except ImageFileError:
        raise
    except (tifffile.TiffFileError, struct.error, ValueError, IndexError, KeyError, TypeError, OSError) as error:
        raise ImageFileError(f'{name}: damaged ({error})') from error
    except (ArithmeticError, AttributeError, RecursionError, MemoryError) as error:
        raise ImageFileError(f'{name}: damaged ({type(error).__name__}: {error})') from error
    finally:
        _quiet.reset(token)


def _drop(record: logging.LogRecord) -> bool:
    """Keep what the library logs, except while this module reads: it raises instead."""
    return not _quiet.get()


def _main_page(file: tifffile.TiffFile, name: str) -> tuple[tifffile.TiffPage, tuple[str, ...]]:
    """The page that holds the image, and notes about the others."""
    pages: list[Any] = []
    masks = False
    for page in _all_pages(file, name):
        if _DNG_VERSION in page.tags or page.photometric in _RAW:
            raise ImageFileError(f'{name}: {DEVELOP}')
        kind = _subfile_type(page)
        masks = masks or bool(kind & _PAGE_MASK)
        if not kind & (_REDUCED | _PAGE_MASK):
            pages.append(page)
    if not pages and file.pages:
        raise ImageFileError(f'{name}: holds nothing but a thumbnail; it may be {DEVELOP}')
    if not pages:
        raise ImageFileError(f'{name}: damaged (it holds no image)')
    count = max(len(pages), _images_of_imagej(file))
    if count > 1:
        raise ImageFileError(f'{name}: holds {count} pages; only single images are read, save them one by one')
    notes = ('its transparency mask is left out',) if masks else ()
    return pages[0], (*notes, 'its layers are left out') if _LAYERS in pages[0].tags else notes


def _all_pages(file: tifffile.TiffFile, name: str) -> Iterator[Any]:
    """The pages of the chain, each followed by its sub-images that are no smaller versions of it."""
    pages: Any = file.pages
    seen: set[int] = set()
    for page in pages:
        if page.offset in seen:
            raise ImageFileError(f'{name}: damaged (its pages lead back to an earlier one)')
        if len(seen) >= _MOST_PAGES:
            raise ImageFileError(f'{name}: holds more than {_MOST_PAGES} pages; only single images are read')
        seen.add(page.offset)
        yield page
        for child in page.pages or ():
            # those of a page are its pyramid, unless the page itself is the small one
            if child is not None and (_subfile_type(page) & _REDUCED or child.photometric in _RAW):
                yield child


def _subfile_type(page: Any) -> int:
    new, old = page.tags.get(_SUBFILE), page.tags.get(_OLD_SUBFILE)
    if new is not None:
        return int(new.value)
    return {2: _REDUCED}.get(int(old.value), 0) if old is not None else 0


def _images_of_imagej(file: tifffile.TiffFile) -> int:
    """Images that ImageJ says it has stored behind the only page of a file."""
    about = file.imagej_metadata if file.is_imagej else None
    return int((about or {}).get('images', 1))


def _orientation(page: Any) -> int:
    tag = page.tags.get(_ORIENTATION)
    return int(tag.value) if tag is not None and tag.value in range(1, 9) else 1


def _compression(page: Any) -> str:
    return str(getattr(page.compression, 'name', page.compression))


def _require_whole(page: Any, length: int, name: str, max_pixels: int) -> None:
    """Refuse a page that is too large, or whose strips or tiles are missing or cannot fill it."""
    height, width = int(page.imagelength), int(page.imagewidth)
    if height * width > max_pixels:
        raise too_large(name, max_pixels)
    if min(height, width) < 1 or page.imagedepth != 1:
        raise ImageFileError(f'{name}: damaged, or not flat ({width}×{height}×{page.imagedepth})')
    sizes = tuple(zip(page.dataoffsets, page.databytecounts, strict=False))
    expected = 1
    for number in page.chunked:
        expected *= int(number)
    if len(sizes) < expected:
        raise ImageFileError(f'{name}: damaged ({len(sizes)} of {expected} strips or tiles are listed)')
    if any(count < 1 or offset + count > length for offset, count in sizes[:expected]):
        raise ImageFileError(f'{name}: damaged: it is cut off after {length} bytes; copy it again')
    bits = page.bitspersample if isinstance(page.bitspersample, int) else max(page.bitspersample)
    most = None if page.photometric == _YCBCR else _SMALLEST.get(int(page.compression))  # colours may be fewer there
    stored = sum(count for _, count in sizes[:expected])
    if most is not None and height * width * int(page.samplesperpixel) * bits / 8 > most * (stored + 1):
        raise ImageFileError(f'{name}: damaged (it claims {width}×{height} pixels, more than its data can hold)')
