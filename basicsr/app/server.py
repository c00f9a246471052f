"""The page's server: private folder, request filter, clean shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from basicsr.app.examples import examples_of, with_captions
from basicsr.app.folder import private_folder, regularly, swept
from basicsr.app.guard import Guard, allowed_hosts
from basicsr.app.networks import Networks
from basicsr.app.service import Service, reason
from basicsr.app.uploads import largest_photo
from basicsr.app.visits import Visits
from basicsr.app.worker import Worker
from basicsr.utils.errors import OptionError

if TYPE_CHECKING:
    from basicsr.app.answers import Answers

KEPT_SECONDS = 3600
"""Seconds after which uploads and results that nobody uses are removed."""
_SWEEP_SECONDS = 60
_LARGEST_NETWORK = 2**30  # bytes


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


def serve(
    *,
    host: str,
    port: int,
    model: str | None = None,
    examples: Path | None = None,
    max_megapixels: float = 24.0,
    max_photos: int = 50,
    max_minutes: float = 30.0,
    sam_checkpoint: str | None = None,
    device: str = 'auto',
) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Args:
        host: address to bind.
        port: port to bind; 0 chooses a free port.
        model: see :class:`~basicsr.app.networks.Networks`.
        examples: folder of example photos; None makes some.
        max_megapixels: larger photos are rejected.
        max_photos: largest number of photos of a visitor.
        max_minutes: time limit of one photo.
        sam_checkpoint: Segment Anything weights.
        device: as for :class:`~basicsr.inference.deblurrer.Deblurrer`.

    Raises:
        BasicsrError: no such network, examples or device; a limit is not positive; the address is in use.
        OSError: the folder for temporary files cannot be created.
    """
    for flag, limit in (('megapixels', max_megapixels), ('photos', max_photos), ('minutes', max_minutes)):
        if not limit > 0:
            raise OptionError(f'--max-{flag}: expected a number above 0, got {limit:g}')
    with open_socket(host, port) as listener, private_folder() as folder:
        _end_in_order()
        shown = folder / 'shown'
        photos, samples = shown / 'visits', shown / 'samples'
        for each in (shown, photos, samples):
            each.mkdir()
        networks = Networks(model)
        with Worker(Service, folder, sam_checkpoint, max_megapixels, device, words=reason) as worker:
            worker.call('ready')
            paths = worker.call('examples', shown / 'examples') if examples is None else _copied(examples, shown)
            _configure_gradio(shown)
            from basicsr.app.answers import Answers

            visits = Visits(photos, worker, networks.path, max_minutes * 60, unused=KEPT_SECONDS)
            answers = Answers(
                visits,
                networks,
                worker,
                samples,
                with_captions(paths),
                max_pixels=round(max_megapixels * 1e6),
                most=max_photos,
            )
            app = application(answers, shown, host, max_megapixels)
            with (
                regularly(visits.sweep, _SWEEP_SECONDS),
                swept(shown, KEPT_SECONDS, spared=(photos, samples)),
                swept(folder / 'masks', KEPT_SECONDS),
            ):
                _run(app, listener, host)


def application(answers: Answers, shown: Path, host: str, megapixels: float) -> Guard:
    """Return the page as an ASGI application behind the guard.

    Args:
        answers: the functions of the page.
        shown: folder of uploads and results; only its files are sent.
        host: address of the server.
        megapixels: largest size of a photo.
    """
    import gradio as gr
    from fastapi import FastAPI

    from basicsr.app.page import CSS, HEAD, build_page, calls_of, theme

    photo = largest_photo(round(megapixels * 1e6))
    page = build_page(answers, megapixels)
    app = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        page,
        path='/',
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        show_error=True,
        max_file_size=max(photo, _LARGEST_NETWORK),
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme(),
        css=CSS,
        head=HEAD,
    )
    return Guard(app, shown, allowed_hosts(host), (answers.most + 1) * photo + _LARGEST_NETWORK, calls_of(page))


def _configure_gradio(shown: Path) -> None:
    """Set where gradio stores files, and that it connects to no other computers; it reads this when it is imported."""
    os.environ.update(
        GRADIO_TEMP_DIR=str(shown),
        GRADIO_EXAMPLES_CACHE=str(shown),
        GRADIO_ANALYTICS_ENABLED='False',
        HF_HUB_OFFLINE='1',
    )


def _copied(folder: Path, shown: Path) -> list[Path]:
    """Copy the examples of a folder to where browsers may read them."""
    target = shown / 'examples'
    target.mkdir()
    return [Path(shutil.copyfile(path, target / path.name)) for path in examples_of(folder)]


def _run(app: Guard, listener: socket.socket, host: str) -> None:
    import uvicorn

    name = f'[{host}]' if ':' in host else host
    print(f'http://{name}:{listener.getsockname()[1]}/  (press Ctrl-C to stop)', flush=True)
    config = uvicorn.Config(
        app, log_level='warning', lifespan='on', ws='none', timeout_graceful_shutdown=2, server_header=False
    )
    logging.getLogger('uvicorn.error').addFilter(_is_of_interest)
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def _is_of_interest(record: logging.LogRecord) -> bool:
    """Leave out what the server logs when it stops while pages are open, or when a page closes its connection.

    For a closed page, gradio raises an HTTP error in an answer that has begun.
    """
    error = record.exc_info[1] if record.exc_info is not None else None
    over = isinstance(error, asyncio.CancelledError) or isinstance(error and error.__cause__, HTTPException)
    return not over and 'graceful shutdown' not in record.getMessage()


def _end_in_order() -> None:
    """Handle SIGTERM and a closed terminal like Ctrl-C, so that the folder is removed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if hasattr(signal, 'SIGHUP'):
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
