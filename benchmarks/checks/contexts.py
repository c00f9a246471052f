"""Train as ``basicsr/train.py`` does, and note in ``contexts<rank>.json`` on which GPUs this process has a context.

A context on the GPU of another process takes half a gigabyte of its memory.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

runpy.run_path(str(Path(__file__).resolve().parents[2] / 'basicsr' / 'utils' / 'clone.py'))


def main() -> int:
    """Train, and write the file; return the exit code of the training."""
    import torch

    from basicsr.train import command

    code = command()
    has_context: Any = torch._C._cuda_hasPrimaryContext  # type: ignore[attr-defined]  # public functions would create one
    found = [index for index in range(torch.cuda.device_count()) if has_context(index)]
    Path(f'contexts{os.environ.get("RANK", "0")}.json').write_text(json.dumps(found))
    return code


if __name__ == '__main__':
    sys.exit(main())
