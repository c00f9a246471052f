"""Option files: read, merged with what they include, checked key by key, and handed out as typed objects."""

from basicsr.options.loading import add_arguments, add_force, dump, from_arguments, load_options
from basicsr.options.schema import Options

__all__ = [
    'Options',
    'add_arguments',
    'add_force',
    'dump',
    'from_arguments',
    'load_options',
]
