"""The page: what stands on it, and which of its parts call the service."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from basicsr.app.service import Network, Outcome, Service, Settings, reason

TITLE = 'Deblur a photo'
WAITING = 20
"""How many may wait for their turn; more are told to come back."""
_NAME_OF_UPLOAD = '(file, ...more) => [file, file ? file.orig_name || "" : "", ...more.slice(1)]'
CSS = """
.gradio-container { max-width: 1400px !important; margin: 0 auto !important; }
#title h1 { margin: 0.2em 0 0.1em; }
#said p { margin: 0.2em 0; overflow-wrap: anywhere; }
#said .error { color: var(--error-text-color); background: var(--error-background-fill);
  border: 1px solid var(--error-border-color); border-radius: 6px; padding: 0.6em 0.8em; }
#said .warning { border: 1px solid #b7791f; border-radius: 6px; padding: 0.6em 0.8em; }
#kernel img { image-rendering: pixelated; }
"""


def theme() -> Any:
    """The library's plain theme with the fonts of the reader's own system: no others are fetched."""
    return gr.themes.Default(
        font=['system-ui', 'sans-serif'], font_mono=['ui-monospace', 'monospace'], primary_hue='blue'
    )


def build_page(service: Service, examples: Sequence[Path] = ()) -> gr.Blocks:
    """The page.

    Args:
        service: what does the work.
        examples: photos to try it with, in the folder that browsers may fetch from.
    """
    first, chosen, problem = _first_network(service)
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.Markdown(_introduction(service), elem_id='title')
        with gr.Row():
            with gr.Column(scale=1, min_width=320):
                photo = gr.File(label='Photo', file_count='single', type='filepath', height=130, elem_id='photo')
                name = gr.Textbox(visible=False)
                preview = gr.Image(
                    label='Your photo', height=180, interactive=False, visible=False, buttons=[], elem_id='preview'
                )
                tray = gr.Dataset(
                    label='Or try one of these',
                    components=[gr.Image(visible=False)],
                    samples=[[str(path)] for path in examples],
                    type='index',
                    visible=bool(examples),
                    elem_id='examples',
                )
                start = gr.Button('Deblur', variant='primary', interactive=not problem, elem_id='start')
                with gr.Accordion('Network and masks', open=False, elem_id='settings'):
                    network = gr.Dropdown(list(service.networks), value=first, label='Network', elem_id='network')
                    generator = gr.Dropdown(
                        list(service.generators),
                        value=service.generators[0],
                        label='Masks made by',
                        info='Regions that help the network to tell what moved together',
                        visible=chosen.takes_masks,
                        elem_id='generator',
                    )
                    dropout = gr.Slider(
                        0,
                        1,
                        0,
                        step=0.05,
                        label='Mask dropout',
                        info='Share of the regions to leave out',
                        visible=chosen.takes_masks,
                        elem_id='dropout',
                    )
                    seed = gr.Number(
                        0,
                        precision=0,
                        minimum=0,
                        maximum=2**31 - 1,
                        label='Seed of the regions left out',
                        visible=chosen.takes_masks,
                        elem_id='seed',
                    )
                    value = gr.Slider(
                        0.001,
                        1,
                        chosen.mask_value or 1.0,
                        step=0.001,
                        label='Mask value',
                        info='Weight of a masked pixel; at first the one that the network was trained with',
                        visible=chosen.mask_value is not None,
                        elem_id='value',
                    )
            with gr.Column(scale=3, min_width=320):
                said = gr.HTML(_error(problem) if problem else '', elem_id='said')
                with gr.Tabs():
                    with gr.Tab('Before and after'):
                        slider = gr.ImageSlider(
                            label='Left: before. Right: after. Drag the line.',
                            interactive=False,
                            type='filepath',
                            max_height=720,
                            buttons=['fullscreen'],
                            elem_id='slider',
                        )
                    with gr.Tab('Regions', visible=chosen.takes_masks) as regions_tab:
                        counted = gr.Markdown('', elem_id='counted')
                        regions = gr.Image(
                            show_label=False, interactive=False, height=640, buttons=['fullscreen'], elem_id='regions'
                        )
                    with gr.Tab('Blur kernel', visible=chosen.finds_kernel) as kernel_tab:
                        kernel = gr.Image(show_label=False, interactive=False, height=420, buttons=[], elem_id='kernel')
                download = gr.DownloadButton('Download in full resolution', interactive=False, elem_id='download')

        results = [said, slider, counted, regions, kernel, download]
        controls = [generator, dropout, seed, value, regions_tab, kernel_tab, start, said]
        private: dict[str, Any] = {'api_visibility': 'private'}

        def look(path: str | None) -> tuple[Any, ...]:
            """Show an upload, or why it is none; results of the photo before it go."""
            empty = _no_results()
            if path is None:
                return gr.update(value=None, visible=False), *empty
            try:
                shown, words = service.look(Path(path))
            except Exception as error:  # noqa: BLE001 - reason() logs what nobody foresaw
                return gr.update(value=None, visible=False), _error(reason(error, Path(path))), *empty[1:]
            return gr.update(value=str(shown), visible=True), _facts(words), *empty[1:]

        def pick(index: int) -> str:
            """An example as if it had been uploaded."""
            return str(examples[index])

        def choose(name_of_network: str) -> tuple[Any, ...]:
            """Offer what a network can use."""
            try:
                about = service.about(name_of_network)
            except Exception as error:  # noqa: BLE001
                about, text, usable = Network(False, None, False), _error(reason(error)), False
            else:
                text, usable = '', True
            return (
                *(gr.update(visible=about.takes_masks) for _ in range(3)),
                gr.update(visible=about.mask_value is not None, value=about.mask_value or 1.0),
                gr.update(visible=about.takes_masks),
                gr.update(visible=about.finds_kernel),
                gr.update(interactive=usable),
                text,
            )

        def deblur(
            path: str | None,
            called: str,
            name_of_network: str,
            name_of_generator: str,
            share: float,
            number: float | None,
            weight: float,
        ) -> tuple[Any, ...]:
            """Run the network."""
            if path is None:
                return (_error('Choose a photo first.'), *_no_results()[1:])
            try:
                settings = Settings(name_of_network, name_of_generator, share, weight, int(number or 0))
                return _results(service.deblur(Path(path), called or Path(path).name, settings), share)
            except Exception as error:  # noqa: BLE001
                return (_error(reason(error, Path(path))), *_no_results()[1:])

        photo.change(look, photo, [preview, *results], concurrency_limit=2, show_progress_on=preview, **private)
        if examples:
            tray.click(pick, tray, photo, queue=True, show_progress='hidden', concurrency_limit=4, **private)
        network.change(choose, network, controls, concurrency_limit=1, concurrency_id='network', **private)
        start.click(
            deblur,
            [photo, name, network, generator, dropout, seed, value],
            results,
            js=_NAME_OF_UPLOAD,
            concurrency_limit=1,
            concurrency_id='network',
            show_progress_on=[slider, regions, kernel],
            trigger_mode='once',
            scroll_to_output=True,
            **private,
        )
    page.queue(max_size=WAITING)
    return page


def _first_network(service: Service) -> tuple[str | None, Network, str]:
    """The network chosen at first, what it is, and why nothing can be done with it."""
    nothing = Network(takes_masks=True, mask_value=1.0, finds_kernel=False)
    if service.problem:
        return None, nothing, service.problem
    first = next(iter(service.networks))
    try:
        return first, service.about(first), ''
    except Exception as error:  # noqa: BLE001 - reason() logs what nobody foresaw
        return first, nothing, reason(error)


def _introduction(service: Service) -> str:
    return (
        f'# {TITLE}\n\n'
        'Sharpens photos that were blurred by a shaking hand or moving things, '
        f'of up to {service.max_megapixels:g} megapixels. It cannot bring back what strong blur or a missed focus has '
        'destroyed, and fine details that it adds are guesses. Photos stay on the computer that this page runs on, '
        'which deletes them within the hour.'
    )


def _results(outcome: Outcome, dropped: float) -> tuple[Any, ...]:
    left = f' (after dropping {dropped:.0%})' if dropped else ''
    text = _facts(outcome.line)
    if outcome.warning:
        text += f'<p class="warning">The network {html.escape(outcome.warning)}</p>'
    return (
        text,
        (str(outcome.before), str(outcome.after)),
        f'{outcome.count} region{"" if outcome.count == 1 else "s"}{left}' if outcome.regions else '',
        None if outcome.regions is None else str(outcome.regions),
        None if outcome.kernel is None else str(outcome.kernel),
        gr.update(value=str(outcome.result), interactive=True),
    )


def _no_results() -> tuple[Any, ...]:
    return '', None, '', None, None, gr.update(value=None, interactive=False)


def _facts(text: str) -> str:
    return f'<p class="facts">{html.escape(text)}</p>'


def _error(text: str) -> str:
    return f'<p class="error" role="alert">{html.escape(text[:1].upper() + text[1:])}</p>'
