"""The page's server: private folder, guard, and an end that leaves nothing behind."""

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
"""How long uploads and results are kept."""
_BYTES_PER_PIXEL = 8  # of the largest files: four channels of 16 bits, not compressed


def open_socket(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 is a free one.

    Raises:
        OptionError: the address is taken, or not of this computer.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        raise OptionError(
            f'{host}:{port} cannot be listened at: {error.strerror or error}; choose others (--host, --port)'
        ) from error
    return listener


def serve(
    *,
    host: str = '127.0.0.1',
    port: int = 7860,
    examples: Path | None = None,
    **service: Any,
) -> None:
    """Show the page until Ctrl-C or SIGTERM.

    Args:
        host: address to listen at.
        port: 0 is a free one.
        examples: folder of photos to try it with; None makes some.
        **service: ``model``, ``sam_checkpoint``, ``max_megapixels``, ``device``.

    Raises:
        BasicsrError: as :class:`~basicsr.app.service.Service`; no such examples; the address is taken.
        OSError: no folder of temporary files can be made.
    """
    with open_socket(host, port) as listener, private_folder() as folder:
        _end_in_order()
        shown = folder / 'shown'
        shown.mkdir()
        shown_examples = _examples(examples, shown / 'examples')
        app = application(Service(shown, folder, **service), shown_examples, host)
        with swept(shown, KEPT_SECONDS), swept(folder / 'masks', KEPT_SECONDS):
            _run(app, listener, host)


def application(service: Service, examples: list[Path], host: str) -> Guard:
    """The page as an ASGI application, with the guard in front.

    Args:
        service: what does the work; its ``shown`` is the only folder that files are sent from.
        examples: photos in that folder.
        host: where it will listen.
    """
    _keep_to_itself(service.shown)
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


def _keep_to_itself(shown: Path) -> None:
    """Tell the library that shows the page where files go, and that it is to call nobody."""
    os.environ.update(
        GRADIO_TEMP_DIR=str(shown),
        GRADIO_EXAMPLES_CACHE=str(shown),
        GRADIO_ANALYTICS_ENABLED='False',
        HF_HUB_OFFLINE='1',
    )


def _examples(folder: Path | None, shown: Path) -> list[Path]:
    if folder is None:
        return make_examples(shown)
    shown.mkdir()
    return [Path(shutil.copyfile(path, shown / path.name)) for path in examples_of(folder)]


def _run(app: Guard, listener: socket.socket, host: str) -> None:
    import uvicorn

    name = f'[{host}]' if ':' in host else host
    print(f'http://{name}:{listener.getsockname()[1]}/  (Ctrl-C ends it)', flush=True)
    config = uvicorn.Config(
        app, log_level='warning', lifespan='on', ws='none', timeout_graceful_shutdown=2, server_header=False
    )
    logging.getLogger('uvicorn.error').addFilter(lambda record: 'graceful shutdown' not in record.getMessage())
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def _end_in_order() -> None:
    """Let SIGTERM and a closed terminal end the page as Ctrl-C does: the folder is removed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if hasattr(signal, 'SIGHUP'):
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
