"""Train as ``basicsr/train.py`` does, and note in ``contexts<rank>.json`` on which GPUs this process has a context.

A context on the GPU of another process takes half a gigabyte of its memory.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def main() -> int:
    """Train, and write the file; return the exit code of the training."""
    import torch

    from basicsr.train import command

    code = command()
    torch_c: Any = torch._C  # its public functions would create a context
    found = [index for index in range(torch.cuda.device_count()) if torch_c._cuda_hasPrimaryContext(index)]
    Path(f'contexts{os.environ.get("RANK", "0")}.json').write_text(json.dumps(found))
    return code


if __name__ == '__main__':
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    sys.exit(main())
