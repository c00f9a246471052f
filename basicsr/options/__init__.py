"""Option files: read, merged with what they include, checked key by key, and handed out as typed objects."""

from basicsr.options.loading import add_arguments, add_force, dump, from_arguments, load_options
from basicsr.options.paths import check_paths
from basicsr.options.schema import Options
from basicsr.preflight import build_on_paper

__all__ = [
    'Options',
    'add_arguments',
    'add_force',
    'build_on_paper',
    'check_paths',
    'dump',
    'from_arguments',
    'load_options',
]
