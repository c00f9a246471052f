"""Read option files, merge them with the files they include, check every key and return typed objects."""

from basicsr.options.loading import add_arguments, add_force, dump, from_arguments, load_options
from basicsr.options.schema import Options

__all__ = ['Options', 'add_arguments', 'add_force', 'dump', 'from_arguments', 'load_options']
