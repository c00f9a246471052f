"""The page's server: private folder, request filter, clean shutdown."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
from pathlib import Path
from typing import Any

from basicsr.app.examples import examples_of, make_examples
from basicsr.app.folder import private_folder, swept
from basicsr.app.guard import Guard, allowed_hosts
from basicsr.app.service import Service
from basicsr.utils.errors import OptionError

KEPT_SECONDS = 3600
"""Maximum age of uploads and results."""
_BYTES_PER_PIXEL = 8  # largest uploads: four channels of 16 bits, uncompressed


def open_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 chooses a free port.

    Raises:
        OptionError: the address is in use or does not belong to this computer.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        return socket.create_server((host, port), family=family, backlog=128, dualstack_ipv6=both)
    except OSError as error:
        raise OptionError(f'cannot listen: {error.strerror or error}; try another --host or --port') from error


def serve(*, host: str, port: int, examples: Path | None = None, **service: Any) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Args:
        host: address to bind.
        port: port to bind; 0 chooses a free port.
        examples: folder of example photos; None makes some.
        **service: ``model``, ``sam_checkpoint``, ``max_megapixels``, ``device``.

    Raises:
        BasicsrError: as :class:`~basicsr.app.service.Service`; no such examples; the address is in use.
        OSError: the folder for temporary files cannot be created.
    """
    with open_socket(host, port) as listener, private_folder() as folder:
        _end_in_order()
        shown = folder / 'shown'
        shown.mkdir()
        app = application(Service(shown, folder, **service), _examples(examples, shown / 'examples'), host)
        with swept(shown, KEPT_SECONDS), swept(folder / 'masks', KEPT_SECONDS):
            _run(app, listener, host)


def application(service: Service, examples: list[Path], host: str) -> Guard:
    """Return the page as an ASGI application behind the guard.

    Args:
        service: deblurs photos; files are sent only from its folder ``shown``.
        examples: photos in that folder.
        host: address of the server.
    """
    os.environ.update(  # where gradio stores files, and no connections to other computers
        GRADIO_TEMP_DIR=str(service.shown),
        GRADIO_EXAMPLES_CACHE=str(service.shown),
        GRADIO_ANALYTICS_ENABLED='False',
        HF_HUB_OFFLINE='1',
    )
    import gradio as gr
    from fastapi import FastAPI

    from basicsr.app.page import CSS, build_page, theme

    app = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        build_page(service, examples),
        path='/',
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        show_error=True,
        max_file_size=round(service.max_megapixels * 1e6 * _BYTES_PER_PIXEL) + 2**20,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme(),
        css=CSS,
    )
    return Guard(app, service.shown, allowed_hosts(host))


def _examples(folder: Path | None, shown: Path) -> list[Path]:
    if folder is None:
        return make_examples(shown)
    shown.mkdir()
    return [Path(shutil.copyfile(path, shown / path.name)) for path in examples_of(folder)]


def _run(app: Guard, listener: socket.socket, host: str) -> None:
    import uvicorn

    name = f'[{host}]' if ':' in host else host
    print(f'http://{name}:{listener.getsockname()[1]}/  (press Ctrl-C to stop)', flush=True)
    config = uvicorn.Config(
        app, log_level='warning', lifespan='on', ws='none', timeout_graceful_shutdown=2, server_header=False
    )
    logging.getLogger('uvicorn.error').addFilter(lambda record: 'graceful shutdown' not in record.getMessage())
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def _end_in_order() -> None:
    """Handle SIGTERM and a closed terminal like Ctrl-C, so that the folder is removed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if hasattr(signal, 'SIGHUP'):
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
