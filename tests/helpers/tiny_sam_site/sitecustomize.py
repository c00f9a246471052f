"""Found by Python when this folder is in PYTHONPATH: takes a tiny Segment Anything network for a published one."""

import runpy
from pathlib import Path

from segment_anything import sam_model_registry

build = runpy.run_path(str(Path(__file__).parents[1] / 'tiny_sam.py'))['build']
sam_model_registry['vit_b'] = sam_model_registry['vit_h'] = build
