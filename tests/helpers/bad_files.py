"""Reading bad files in a process of its own, whose memory is measured."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.helpers.project import ROOT

READ_PHOTOS = """
from basicsr.images.files import image_size, imread
from basicsr.images.photo import load_photo
def read(path):
    for one in (image_size, imread, load_photo):  # the last decides
        try:
            found = one(path)
        except ImageFileError as error:
            assert path.name in str(error), error
            found = error
    if not isinstance(found, ImageFileError) and not path.name.startswith('bomb'):
        print('read', path.name)
"""
READ_MASKS = """
from basicsr.masks import read_masks
def read(path):
    for size in (None, (64, 96)):
        try:
            read_masks(path, size)
            print('read', path.name)
        except MaskError as error:
            assert path.name in str(error), error
"""


def memory_of(program: str, folder: Path) -> int:
    """MiB that a process takes at most which reads all files of a folder; it reads none without an error.

    Args:
        program: defines ``read(path)``.
        folder: of the files.
    """
    program = (
        'import sys\nfrom pathlib import Path\nfrom basicsr.utils.errors import ImageFileError, MaskError\n'
        f'{program}\nfor path in sorted(Path(sys.argv[1]).iterdir()):\n    read(path)\n'
        # what the process had in memory, which resource.getrusage mixes with what its parent had
        'print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))\n'
    )
    words = [sys.executable, '-c', program, str(folder)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    *read, memory = done.stdout.splitlines()
    assert read == []
    return int(memory) // 1024
