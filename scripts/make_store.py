"""Pack a folder of images or masks into an LMDB or a raw store, or unpack one.

An LMDB (name.lmdb) has the original's layout. A raw store (name.raw) contains uncompressed pixels in one memory-mapped
file: the fastest to train from, three to ten times as large. Data sets read them with io_backend: {type: lmdb} or
{type: raw}. An interrupted run leaves no partial result.
"""

from __future__ import annotations

import runpy
from pathlib import Path

runpy.run_path(f'{Path(__file__).resolve().parents[1]}/basicsr/utils/clone.py')

import argparse
from functools import partial


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--input', type=Path, required=True, metavar='SOURCE', help='folder, name.lmdb or name.raw')
    add('--output', type=Path, required=True, metavar='TARGET', help='name.lmdb, name.raw, or a folder')
    kind_help = 'content to pack: images, masks (label maps or .npz), or gray masks of CAT (default: images)'
    add('--kind', choices=('images', 'masks', 'gray'), default='images', help=kind_help)
    add('--threads', type=int, default=4, metavar='N', help='threads that decode files for a raw store (default: 4)')
    return parser.parse_args()


def convert(source: Path, target: Path, kind: str, threads: int) -> int:
    """Pack or unpack, depending on the names; return the number of files."""
    from tqdm import tqdm

    from basicsr.data.stores.base import FolderStore
    from basicsr.data.stores.lmdb import LmdbStore, write_lmdb
    from basicsr.data.stores.opening import unpack
    from basicsr.data.stores.raw import RawStore, write_raw
    from basicsr.images.files import IMAGE_SUFFIXES
    from basicsr.masks.files import SUFFIXES, is_label_map
    from basicsr.utils.errors import DataError

    progress = partial(tqdm, unit='file', dynamic_ncols=True)
    packed = {'.raw': RawStore, '.lmdb': LmdbStore}
    if source.suffix in packed and target.suffix not in packed:
        return unpack(packed[source.suffix](source), target, progress)
    if source.suffix not in packed and kind == 'images' and source.is_dir():
        store = FolderStore(source)
        if is_label_map(store.root / store.keys[0]):
            raise DataError(f'{store.path(store.keys[0])} is a label map; add --kind masks')
    if target.suffix == '.raw' and source.suffix != '.raw':
        suffixes = {'images': IMAGE_SUFFIXES, 'masks': SUFFIXES, 'gray': ('.png',)}[kind]
        files = LmdbStore(source) if source.suffix == '.lmdb' else FolderStore(source, suffixes)
        return write_raw(files, target, kind, max(1, threads), progress)  # type: ignore[arg-type]
    if target.suffix == '.lmdb' and source.suffix not in packed:
        return write_lmdb(source, target, 'images' if kind == 'images' else 'masks', progress)
    raise DataError(f'{source} to {target}: one of the two is a folder of files; only name.lmdb to name.raw is direct')


def main() -> int:
    """Pack or unpack, and print the number of files."""
    arguments = parse()
    count = convert(arguments.input, arguments.output, arguments.kind, arguments.threads)
    print(f'{arguments.output}: {count} files from {arguments.input}')
    return 0


if __name__ == '__main__':
    from basicsr.utils.console import run_and_exit

    run_and_exit(main)
