"""Global-reset-release sequences."""

from __future__ import annotations

import numpy as np

from basicsr.images.files import imwrite


def write(root, sequence, numbers, kinds=('RSGR', 'GS'), size=(8, 10), digits=4):
    for kind in kinds:
        for folder in ('PNG', 'RAW'):
            (root / sequence / kind / folder).mkdir(parents=True, exist_ok=True)
        for number in numbers:
            rng = np.random.default_rng([number, len(kind), len(sequence)])
            image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            imwrite(root / sequence / kind / 'PNG' / f'{number:0{digits}}.png', image)
            (root / sequence / kind / 'RAW' / f'{number}.raw').write_bytes(b'raw')
