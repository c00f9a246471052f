"""Paths of the files that belong to the package: next to it in a clone, inside it when installed from a wheel."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

DISTRIBUTION = 'basicsr-region-deblur'
_PACKAGE = Path(__file__).resolve().parents[1]
_BUNDLED = _PACKAGE / 'bundled'  # setup.py puts it into wheels; a clone has none
IS_CLONE = not _BUNDLED.is_dir()
ROOT = _PACKAGE.parent
OPTION_FILES = ROOT / 'options' if IS_CLONE else _BUNDLED / 'options'
"""Folder of the shipped option files: ``train/`` and ``test/``."""
GIVEN_NETWORKS = Path('experiments', 'pretrained_models')
"""Folder of networks that are not experiments; in option files and in the current directory."""
NETWORK_FILES = ROOT / GIVEN_NETWORKS if IS_CLONE else _BUNDLED / GIVEN_NETWORKS.name
"""Folder of the bundled network."""

COMMANDS = {
    'python basicsr/train.py': 'basicsr-train',
    'python basicsr/test.py': 'basicsr-test',
    'python basicsr/deblur.py': 'basicsr-deblur',
    'python basicsr/app/web.py': 'basicsr-web',
    'torchrun --nproc_per_node 8 scripts/make_masks.py': 'torchrun --nproc_per_node 8 -m basicsr.make_masks',
    'python scripts/make_masks.py': 'basicsr-masks',
    "pip install -e '.[": f"pip install '{DISTRIBUTION}[",
}
"""The commands of a clone, and those of an installed package."""


def with_commands(text: str) -> str:
    """Replace the commands of a clone in a text by those of the installed package, if it is installed.

    Other scripts, and pages of docs, are not installed; the text then says where they are. A name before a colon, or in
    a longer path, is a file of the user.
    """
    if IS_CLONE:
        return text
    for in_clone, installed in COMMANDS.items():
        text = text.replace(in_clone, installed)
    elsewhere = r'(?<![\w./-])(docs/\w+\.md|scripts/\w+\.(?:py|sh))(?!:| of the)'
    return re.sub(elsewhere, r'\1 of the source repository', text)


def command_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with a description of several paragraphs, whose commands fit the installation."""
    layout = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(description=with_commands(description), formatter_class=layout)
