"""Make data sets with row-dependent blur, in the folder layout of GRR_real, from clips and photos."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.data.camera_shake import CameraShake
from basicsr.data.exposure import Image, light_of
from basicsr.data.row_exposure import Frames, RowExposure, frames_of_clip, frames_of_photo
from basicsr.data.sharp_sources import RecentImages, scaled
from basicsr.images.contact_sheet import contact_sheet, sheet_row
from basicsr.images.files import imread, imwrite
from basicsr.masks.mask_images import read_photo
from basicsr.preparation.dataset_record import locked_folder
from basicsr.preparation.grr_sources import clips_in, photos_by_name
from basicsr.preparation.output_files import save_bytes, save_png, writing
from basicsr.preparation.synthetic_sets import require_same_settings
from basicsr.preparation.worker_pool import Pool, PoolResult
from basicsr.utils.errors import ArgumentError, DataError, ShapeError
from basicsr.utils.files import whole_folder

RECORD, SHEET = 'grr_synth.json', 'grr_synth.jpg'
_SHOWN = 8
_SMALLEST = 0.5  # photos are scaled down by up to this factor, which sharpens slightly soft ones


@dataclass(frozen=True)
class GRRPlan:
    """The settings of one part of a data set.

    Args:
        clips: folders of frames of high-frame-rate clips, or of such folders.
        photos: folders of sharp photos, blurred by camera shake.
        exposure: of the rows. For photos, only the ratio of both exposure times counts.
        stride: frames of a clip from the beginning of one exposure to the next.
        crop: height and width of pairs from photos, cut at random; None blurs whole photos. Rows count from the first
            row of the crop.
        per_photo: number of pairs from each photo, each with its own shake and crop.
        path_length: range of the mean path of a pixel during the exposure of the last row, in pixels;
            log(1 + length) is uniform.
        seed: random seed.

    Raises:
        ArgumentError: no source, or a number out of range.
    """

    exposure: RowExposure
    clips: Sequence[str] = ()
    photos: Sequence[str] = ()
    stride: int = 1
    crop: tuple[int, int] | None = None
    per_photo: int = 1
    path_length: tuple[float, float] = (0.0, 40.0)
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.clips and not self.photos:
            raise ArgumentError('no input; pass clips with --clips DIR ... or photos with --photos DIR ...')
        if self.stride < 1 or self.per_photo < 1 or self.seed < 0 or min(self.crop or (1, 1)) < 1:
            raise ArgumentError('--stride, --per-photo and --crop must be at least 1, --seed at least 0')
        if not 0 <= self.path_length[0] <= self.path_length[1] < np.inf:
            raise ArgumentError(
                f'--path-length needs two finite ascending lengths of at least 0, got {self.path_length}'
            )

    def record(self) -> dict[str, Any]:
        """Return all settings as plain values."""
        return dict(json.loads(json.dumps(asdict(self))))


def synthesize(plan: GRRPlan, folder: Path, workers: int = 1, shown: bool = False) -> PoolResult[int]:
    """Write ``<sequence>/{RSGR,GS}/PNG/<number>.png``: one sequence for each clip and photo, and a contact sheet.

    A sequence appears once it is complete; existing ones are kept, so an interrupted run can be continued. A pair
    depends on the settings, the name of its sequence and its number alone.

    Args:
        plan: the settings.
        folder: of the part: ``<data set>/train``, ``validate`` or ``test``.
        workers: number of processes.
        shown: whether to show a progress bar.

    Returns:
        the number of pairs of each sequence, and the error messages of sequences that could not be made.

    Raises:
        DataError: a source cannot be used, or the folder contains other data.
        OutputError: a file cannot be written.
    """
    clips = clips_in(plan.clips, plan.exposure.frames)
    photos = photos_by_name(plan.photos, plan.crop)
    if twice := sorted(clips.keys() & photos.keys()):
        raise DataError(f'{twice[0]}: a clip and a photo have the same name; rename one of them')
    if folder.is_dir() and any(folder.iterdir()):
        require_same_settings(folder / RECORD, plan.record())
    with locked_folder(folder), Pool(workers, shown) as pool:
        save_bytes(folder / RECORD, (json.dumps(plan.record(), indent=2, sort_keys=True) + '\n').encode())
        jobs = [(name, files, name in clips, plan, folder / name) for name, files in {**clips, **photos}.items()]
        done = pool.run(write_sequence, jobs, f'{folder.name}: sequences')
        write_sheet(folder)
    return done


def write_sequence(name: str, files: Sequence[Path], is_clip: bool, plan: GRRPlan, folder: Path) -> int:
    """Write the pairs of one clip or photo, and return their number.

    Args:
        name: of the sequence; together with the seed and the number of a pair, it determines random numbers.
        files: the frames of a clip in order, or one photo.
        is_clip: which of them.
        plan: the settings.
        folder: of the sequence; if it exists, it is kept.

    Raises:
        ImageFileError: a file cannot be read.
        ShapeError: the frames of a clip differ in size, or a photo is smaller than the crop.
        DataError: all pixels of a photo have the same colour, so it cannot be blurred.
        OutputError: the disk is full or the folder cannot be written.
    """
    count = 1 + (len(files) - plan.exposure.frames) // plan.stride if is_clip else plan.per_photo
    if folder.is_dir():
        return count
    read = RecentImages(read_photo)
    with writing(folder), whole_folder(folder) as new:
        for number in range(count):
            rng = np.random.default_rng([plan.seed, zlib.crc32(name.encode()), number])
            if is_clip:
                start = number * plan.stride
                exposure = plan.exposure
                images = [read(path) for path in files[start : start + exposure.frames]]
                frames, rows = frames_of_clip(images, exposure.gamma), len(images[0])
            else:
                exposure, frames, rows = _shaken(read(files[0]), str(files[0]), plan, rng)
            lq, gt = exposure.expose(frames, rows, rng)
            for kind, image in (('RSGR', lq), ('GS', gt)):
                save_png(new / kind / 'PNG' / f'{number:06d}.png', image)
    return count


def _shaken(photo: Image, path: str, plan: GRRPlan, rng: np.random.Generator) -> tuple[RowExposure, Frames, int]:
    """Draw a crop of a photo and a camera shake; return exposure times in steps of the shake, frames and rows."""
    height, width = plan.crop or photo.shape[:2]
    if photo.shape[0] < height or photo.shape[1] < width:
        raise ShapeError(f'{path}: {photo.shape[1]}×{photo.shape[0]} pixels, smaller than the crop {width}×{height}')
    if (photo == photo[0, 0]).all():
        raise DataError(f'{path}: all pixels have the same colour, so it cannot be blurred; remove it')
    if plan.crop is not None:
        least = max(_SMALLEST, height / photo.shape[0], width / photo.shape[1])
        small = scaled(photo, round(float(rng.uniform(least, max(1.0, least))) * min(photo.shape[:2])))
        photo = small if small.shape[0] >= height and small.shape[1] >= width else photo  # rounding
    top, left = (int(rng.integers(old - new + 1)) for old, new in zip(photo.shape, (height, width), strict=False))
    low, high = np.log1p(plan.path_length)
    shake = CameraShake((photo.shape[0], photo.shape[1]), float(np.expm1(rng.uniform(low, high))), rng)
    corners = np.array([(top + a * height, left + b * width) for a in (0, 1) for b in (0, 1)], np.float64)
    ratio = plan.exposure.first / plan.exposure.last
    count = max(shake.samples_for(corners), int(np.ceil(1 / ratio)))
    exposure = replace(plan.exposure, first=count * ratio, last=float(count))
    light = light_of(photo, exposure.gamma)
    return exposure, frames_of_photo(light, shake, count, (top, left, height, width)), height


def write_sheet(folder: Path) -> Path:
    """Write a contact sheet: the first pair of some sequences, sharp and blurred side by side."""
    sequences = sorted(path for path in folder.iterdir() if (path / 'RSGR' / 'PNG').is_dir())
    strips = []
    for sequence in sequences[:: max(1, -(-len(sequences) // _SHOWN))]:
        blurred = sorted((sequence / 'RSGR' / 'PNG').iterdir())[0]
        files = {'sharp': sequence / 'GS' / 'PNG' / blurred.name, 'blurred': blurred}
        strips.append(sheet_row(sequence.name, [(kind, imread(path, 3)) for kind, path in files.items()]))
    if strips:
        imwrite(folder / SHEET, contact_sheet(strips))
    return folder / SHEET
