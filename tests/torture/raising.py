"""The web page with a network that raises, or ends its process, for photos with certain names."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from basicsr.app.service import Service

ERRORS: dict[str, type[BaseException]] = {
    'runtime': RuntimeError,
    'value': ValueError,
    'memory': MemoryError,
    'exit': SystemExit,
}


class RaisingService(Service):
    """As its base class; the network raises the error that begins the name of a photo."""

    _fault = ''

    def deblur(self, source: Path, name: str, *given: Any, **more: Any) -> Any:
        """Deblur a photo, with the fault that its name asks for."""
        self._fault = name.partition('_')[0]
        return super().deblur(source, name, *given, **more)

    def _prepared(self, network: Path, settings: Any) -> Any:
        deblurrer, masks = super()._prepared(network, settings)
        if not deblurrer.net._forward_pre_hooks:
            deblurrer.net.register_forward_pre_hook(lambda net, inputs: self._raise())
        return deblurrer, masks

    def _raise(self) -> None:
        if self._fault == 'vanish':
            os.kill(os.getpid(), signal.SIGKILL)
        if self._fault in ERRORS:
            raise ERRORS[self._fault]('the network raised this error')


def main() -> None:
    """Run the page; the first argument is its own program."""
    from basicsr.app import server
    from basicsr.app.web import command

    server.Service = RaisingService  # type: ignore[misc]
    del sys.argv[1]
    command()
