"""Images of cameras with a global-reset-release shutter, which exposes lower rows longer, and their sharp images."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from basicsr.data.file_dataset import Augmentation, ImageFileDataset, Phase, read_image
from basicsr.data.pairing import refuse_all
from basicsr.data.sample import Sample
from basicsr.data.stores.base import FolderStore, Store
from basicsr.utils.errors import DataError
from basicsr.utils.registry import DATASET_REGISTRY
from basicsr.utils.signature import Folder, NotNegative, Positive, require_arguments

_LQ, _GT = 'RSGR', 'GS'
_NO_NUMBER, _MISSING = 'the name is not a number', 'these frames are missing'


def _keeps_rows(wanted: bool) -> bool:
    if wanted:
        raise PydanticCustomError(
            'rows', 'expected false: the blur of these images grows from the top row to the bottom row'
        )
    return wanted


KeepsRows = Annotated[bool, AfterValidator(_keeps_rows)]
"""An augmentation that would change the order of the rows; it must be off."""


@DATASET_REGISTRY.register()
class GRRDataset(ImageFileDataset):
    """GRR_real and RSGR-GS_v1: ``<sequence>/RSGR/PNG/<number>.png`` blurred, ``<sequence>/GS/PNG/<number>.png`` sharp.

    ``dataset[i]`` contains ``lq`` and ``gt``, uint8 (C, H, W) RGB, paths and ``mask_seed``; names are
    ``<sequence>/<number>``. A crop loses its place: to the network its first row is row 0 again, as in the original.

    Args:
        dataroot: folder of one part (train, validate, test) with a folder for each sequence.
        phase: 'train' augments at random; 'val' and 'test' return frames as they are.
        gt_size: side of the training crops in pixels; None trains on whole frames, as the original does.
        use_flip: flip horizontally at random.
        use_channels: reverse the order of the channels at random.
        use_vflip, use_rot: must be false; vertical flips would reverse the order of exposure.
        allow_gaps: accept sequences with missing frame numbers.
        seed: random seed.

    Raises:
        DataError: no sequences, frames without partner, names that are not numbers, or gaps; the message lists them.
    """

    def __init__(
        self,
        dataroot: Folder,
        phase: Phase = 'test',
        gt_size: Positive | None = None,
        use_flip: bool = True,
        use_channels: bool = True,
        use_vflip: KeepsRows = False,
        use_rot: KeepsRows = False,
        allow_gaps: bool = False,
        seed: NotNegative = 0,
    ) -> None:
        require_arguments(GRRDataset, locals())
        self.store = FolderStore(dataroot, ('.png',))
        self.frames = _all_frames(self.store, allow_gaps)
        names = [f'{sequence}/{name}' for sequence, name in self.frames]
        super().__init__(names, Augmentation(phase, gt_size, use_flip, False, seed, use_channels=use_channels))

    def sample(self, index: int) -> Sample:
        """Read the whole pair.

        Raises:
            ImageFileError: a file is no image, or cut off.
            ShapeError: the two differ in size; both are named.
        """
        sequence, name = self.frames[index]
        lq, gt = (read_image(self.store, key, 3, 'high_byte') for key in frame_keys(sequence, name))
        return Sample(*lq, *gt)


def frame_keys(sequence: str, name: str) -> tuple[str, str]:
    """Return the keys of the blurred and the sharp image of a frame."""
    blurred, sharp = (f'{sequence}/{kind}/PNG/{name}.png' for kind in (_LQ, _GT))
    return blurred, sharp


def frames_of(store: Store, allow_gaps: bool = False) -> tuple[list[tuple[str, str]], dict[str, list[str]]]:
    """Find the frames of a folder of sequences.

    Args:
        store: the folder.
        allow_gaps: accept missing frame numbers.

    Returns:
        sequence and name of every complete pair, sequences by name and frames by number; and the frames with problems
        by kind of problem.
    """
    found: dict[str, dict[str, set[str]]] = {}
    for key in store.keys:
        path = PurePosixPath(key)
        if len(path.parts) == 4 and path.parts[1] in (_LQ, _GT) and path.parts[2] == 'PNG' and path.suffix == '.png':
            found.setdefault(path.parts[0], {_LQ: set(), _GT: set()})[path.parts[1]].add(path.stem)
    problems: dict[str, list[str]] = {_NO_NUMBER: [], _MISSING: []}
    frames = []
    for sequence, kinds in sorted(found.items()):
        for kind, other in ((_LQ, _GT), (_GT, _LQ)):
            lonely = sorted(kinds[other] - kinds[kind])
            title = f'sequence {sequence} has {len(kinds[kind])} frames in {kind} and {len(kinds[other])} in {other}; '
            problems[f'{title}without a partner in {kind}'] = lonely
        odd = sorted(name for name in kinds[_LQ] if not name.isdecimal())
        problems[_NO_NUMBER] += [f'{sequence}/{name}' for name in odd]
        names = sorted(kinds[_LQ] - set(odd), key=lambda name: (int(name), name))
        if names and not allow_gaps:
            there = {int(name) for name in names}
            gaps = sorted(set(range(min(there), max(there))) - there)
            problems[_MISSING] += [f'{sequence}/{number}' for number in gaps]
        frames += [(sequence, name) for name in names if name in kinds[_GT]]
    return frames, problems


def _all_frames(store: Store, allow_gaps: bool) -> list[tuple[str, str]]:
    frames, problems = frames_of(store, allow_gaps)
    if not frames and not any(problems.values()):
        raise DataError(
            f'{store.root}: no sequences; expected <sequence>/{_LQ}/PNG/*.png and <sequence>/{_GT}/PNG/*.png'
        )
    advice = 'to accept gaps, set allow_gaps: true' if problems[_MISSING] else ''
    refuse_all(problems, f'{store.root}: incomplete sequences', advice)
    return frames
