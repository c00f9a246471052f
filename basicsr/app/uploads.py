"""Files that visitors upload: photos become entries of a visit, everything else is refused with a reason."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from basicsr.app.screen import format_of, show
from basicsr.app.service import reason, safe_name
from basicsr.app.visit import Entry, Visit
from basicsr.app.worker import Refused
from basicsr.images.photo import load_photo
from basicsr.photos.jobs import is_video
from basicsr.utils.errors import ImageFileError

BYTES_PER_PIXEL = 8
"""Of the largest photo files: four channels of 16 bits, uncompressed."""
_THUMBNAIL = 112
_DECODING = threading.BoundedSemaphore(2)  # photos that are decoded at a time
_SHARED_SECONDS = 10.0


def add_photos(
    visit: Visit, files: Sequence[tuple[Path, str]], max_pixels: int, most: int, videos: Sequence[str] = ()
) -> None:
    """Add photos to a visit, and say which files were not added, and why.

    Args:
        visit: of the visitor.
        files: with their original names.
        max_pixels: larger photos are refused.
        most: the largest number of photos of a visit.
        videos: names of videos that were chosen together with the files, and not uploaded.
    """
    problems = [about_video(safe_name(name)) for name in videos]
    added = 0
    for path, given in files:
        name = safe_name(given)
        try:
            visit.require_room(most, is_first=not added)  # before it is decoded
            if is_video(Path(name)):
                raise ImageFileError(about_video(name))
            visit.add(_entry(visit.new_folder(), path, name, max_pixels), most, is_first=not added)
            added += 1
        except Exception as problem:  # noqa: BLE001 - reason() logs unexpected errors
            words = reason(problem, path)
            problems.append(words if words.startswith(name) else f'{name}: {words}')
    visit.say('; '.join(problems), is_error=bool(problems))


def about_video(name: str) -> str:
    """Return why the page does not take a video, and what does."""
    return f'{name}: videos are deblurred on the command line: python basicsr/deblur.py "{name}"'


def link(source: Path, target: Path) -> None:
    """Give an upload a second name in the folder of its visit, where no other visitor's visit ends it.

    Raises:
        ImageFileError: the upload was removed.
        OSError: the file cannot be created.
    """
    if not source.is_file():
        raise ImageFileError('the file was deleted from this page; upload it again')
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def forget(uploads: Sequence[str], after: float = _SHARED_SECONDS) -> None:
    """Remove uploads that a visit has linked or refused. Those that belong to no visit are swept.

    Gradio stores equal files of two visitors once. The other visitor may be about to link the file; therefore it stays
    for a moment, and stays if it was uploaded again meanwhile.

    Args:
        uploads: paths of the files.
        after: seconds until they are removed.
    """

    def remove() -> None:
        for path in map(Path, uploads):
            with contextlib.suppress(OSError):  # swept, or its folder is not empty
                if time.time() - path.stat().st_mtime >= after:
                    path.unlink()
                    path.parent.rmdir()

    timer = threading.Timer(after, remove)
    timer.daemon = True
    timer.start()


def _entry(folder: Path, path: Path, name: str, max_pixels: int) -> Entry:
    """Read a photo, and write its images for the screen."""
    source = folder / f'photo{Path(name).suffix}'
    try:
        link(path, source)
        if source.stat().st_size > largest_photo(max_pixels):
            raise ImageFileError(f'the file has more than {largest_photo(max_pixels) >> 20} MiB; scale the photo down')
        with _DECODING:
            photo = load_photo(source, max_pixels)
            thumbnail, preview = folder / 'thumbnail.jpg', folder / 'preview.jpg'
            show(thumbnail, photo, _THUMBNAIL)
            show(preview, photo)
    except Exception as problem:
        shutil.rmtree(folder, ignore_errors=True)
        raise Refused(reason(problem, source)) from problem
    height, width = photo.pixels.shape[:2]
    facts = f'{width}×{height}, {format_of(photo)}'
    return Entry(secrets.token_hex(8), name, source, folder, thumbnail, preview, (width, height), facts)


def largest_photo(max_pixels: int) -> int:
    """Return the largest size of a photo file in bytes."""
    return max_pixels * BYTES_PER_PIXEL + 2**20
