"""Measure the memory of the web page over many photos: python -m benchmarks.page_memory [number of photos]

One visitor uploads a photo after the other and has it deblurred with the bundled network. The anonymous memory of all
processes of the page, shared pages counted once, is printed after each photo. Linux only.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from basicsr.images.files import imwrite
from basicsr.inference.pretrained import DEFAULT
from tests.helpers.web_server import Server, running

SIZE = 600, 900
KEPT = 5  # photos after which memory must not grow


def memory(process: int) -> float:
    """Return the MiB of a process and its descendants."""
    sizes = {}
    parents = {}
    for folder in Path('/proc').glob('[0-9]*'):
        try:
            parents[int(folder.name)] = int((folder / 'stat').read_text().rsplit(')', 1)[1].split()[1])
            lines = (folder / 'smaps_rollup').read_text().splitlines()
            sizes[int(folder.name)] = int(next(line for line in lines if line.startswith('Pss_Anon:')).split()[1])
        except (OSError, StopIteration):
            continue
    known = {process}
    while more := {child for child, parent in parents.items() if parent in known} - known:
        known |= more
    return sum(sizes.get(one, 0) for one in known) / 1024


def deblur(server: Server, photo: Path, number: int) -> None:
    """Upload a photo, which replaces the last one, and wait for its result."""
    folder = next(server.temporary.glob('deblur-page-*/shown/visits'))
    server.add(photo)
    while not list(folder.glob(f'*/*/photo{photo.suffix}')) or not list(folder.glob('*/*/preview.jpg')):
        time.sleep(0.05)
    time.sleep(0.3)
    status, answer = server.join('network', DEFAULT, 'none', 0, number, 1)
    assert status == 200, json.loads(answer)
    while not list(folder.glob('*/*/*/pixels.png')):
        time.sleep(0.05)
    time.sleep(0.3)


def main(count: int = 50) -> int:
    """Print the memory after each photo; 1 if it grew by more than 50 MiB after the first five."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place, running(Path(place)) as server:
        photo, sizes = Path(place) / 'photo.jpg', []
        for number in range(count):
            imwrite(
                photo,
                np.kron(rng.integers(0, 256, (SIZE[0] // 4, SIZE[1] // 4, 3)), np.ones((4, 4, 1))).astype(np.uint8),
            )
            deblur(server, photo, number)
            sizes.append(memory(server.process.pid))
            print(f'{number + 1} photos: {sizes[-1]:.0f} MiB', flush=True)
    growth = max(sizes[KEPT:], default=0) - max(sizes[:KEPT]) if count > KEPT else 0.0
    print(f'growth after the first {KEPT}: {growth:.0f} MiB')
    return int(growth > 50)


if __name__ == '__main__':
    sys.exit(main(*map(int, sys.argv[1:])))
