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
_FIRST_TAB = 'compare'
_NAME_OF_UPLOAD = '(file, ...more) => [file, file ? file.orig_name || "" : "", ...more.slice(1)]'
_SHOW_RESULTS = """() => { // below the controls on a phone
  if (innerWidth < 700) document.querySelector('#said').scrollIntoView({behavior: 'smooth'});
}"""
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
    answers = Answers(service, examples)
    private: dict[str, Any] = {'api_visibility': 'private'}
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.Markdown(_introduction(service), elem_id='title')
        with gr.Row():
            with gr.Column(scale=1, min_width=320):
                photo, name, preview, tray = _photo_part(examples)
                start = gr.Button('Deblur', variant='primary', interactive=not problem, elem_id='start')
                with gr.Accordion('Network and masks', open=False, elem_id='settings'):
                    network = gr.Dropdown(list(service.networks), value=first, label='Network', elem_id='network')
                    masks = _mask_part(service.generators, chosen)
            with gr.Column(scale=3, min_width=320):
                said = gr.HTML(_error(problem) if problem else '', elem_id='said')
                download = gr.DownloadButton('Download in full resolution', visible=False, elem_id='download')
                (slider, counted, regions, kernel), tabs = _result_part(chosen)

        results = [said, slider, counted, regions, kernel, download]
        one_at_a_time = {'concurrency_limit': 1, 'concurrency_id': 'network', **private}
        photo.change(answers.look, photo, [preview, *results], concurrency_limit=2, show_progress_on=preview, **private)
        tray.click(answers.pick, tray, photo, show_progress='hidden', concurrency_limit=4, **private)
        network.change(answers.choose, network, [*masks, *tabs, start, said], **one_at_a_time)
        deblurred = start.click(
            answers.deblur,
            [photo, name, network, *masks],
            results,
            js=_NAME_OF_UPLOAD,
            show_progress_on=[slider, regions, kernel],
            trigger_mode='once',
            **one_at_a_time,
        )
        start.click(None, js=_SHOW_RESULTS)
        deblurred.then(None, js=_SHOW_RESULTS)  # there was no room below to scroll to before
    page.queue(max_size=WAITING)
    return page


class Answers:
    """What the parts of the page call.

    Args:
        service: what does the work.
        examples: photos to try it with.
    """

    def __init__(self, service: Service, examples: Sequence[Path] = ()) -> None:
        self.service, self.examples = service, examples

    def look(self, path: str | None) -> tuple[Any, ...]:
        """Show an upload, or why it is none; results of the photo before it go."""
        hidden = gr.update(value=None, visible=False)
        if path is None:
            return hidden, *_no_results()
        try:
            shown, words = self.service.look(Path(path))
        except Exception as error:  # noqa: BLE001 - reason() logs what nobody foresaw
            return hidden, *_no_results(_error(reason(error, Path(path))))
        return gr.update(value=str(shown), visible=True), *_no_results(_facts(words))

    def pick(self, index: int) -> str:
        """An example as if it had been uploaded."""
        return str(self.examples[index])

    def choose(self, network: str) -> tuple[Any, ...]:
        """Offer what a network can use."""
        try:
            about, said = self.service.about(network), ''
        except Exception as error:  # noqa: BLE001 - as above
            about, said = Network(takes_masks=False, mask_value=None, finds_kernel=False), _error(reason(error))
        return (
            *(gr.update(visible=about.takes_masks) for _ in range(3)),
            gr.update(visible=about.mask_value is not None, value=about.mask_value or 1.0),
            gr.Tabs(selected=_FIRST_TAB),  # the one that was looked at may go
            gr.update(visible=about.takes_masks),
            gr.update(visible=about.finds_kernel),
            gr.update(interactive=not said),
            said,
        )

    def deblur(
        self,
        path: str | None,
        name: str,
        network: str,
        generator: str,
        mask_dropout: float,
        seed: float | None,
        mask_value: float,
    ) -> tuple[Any, ...]:
        """Deblur an upload and show the results, or why there are none."""
        if path is None:
            return _no_results(_error('Choose a photo first.'))
        try:
            settings = Settings(network, generator, mask_dropout, mask_value, int(seed or 0))
            return _results(self.service.deblur(Path(path), name or Path(path).name, settings), mask_dropout)
        except Exception as error:  # noqa: BLE001 - as above
            return _no_results(_error(reason(error, Path(path))))


def _photo_part(examples: Sequence[Path]) -> tuple[Any, ...]:
    """Upload, the place its name is put into, a small picture of it, and examples."""
    photo = gr.File(label='Photo', file_count='single', type='filepath', height=130, elem_id='photo')
    name = gr.Textbox(visible=False)
    preview = gr.Image(label='Your photo', height=180, interactive=False, visible=False, buttons=[], elem_id='preview')
    tray = gr.Dataset(
        label='Or try one of these',
        components=[gr.Image(visible=False)],
        samples=[[str(path)] for path in examples],
        type='index',
        visible=bool(examples),
        elem_id='examples',
    )
    return photo, name, preview, tray


def _mask_part(generators: Sequence[str], chosen: Network) -> tuple[Any, ...]:
    """What decides the masks, in the order of :meth:`Answers.deblur`."""
    generator = gr.Dropdown(
        list(generators),
        value=generators[0],
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
    return generator, dropout, seed, value


def _result_part(chosen: Network) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Slider, number of regions, their picture, the kernel; the tabs, and those that not every network fills."""
    with gr.Tabs() as all_tabs:
        with gr.Tab('Before and after', id=_FIRST_TAB):
            slider = gr.ImageSlider(
                label='Left: before. Right: after. Drag the line.',
                interactive=False,
                type='filepath',
                max_height=640,
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
    return (slider, counted, regions, kernel), (all_tabs, regions_tab, kernel_tab)


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
        gr.update(value=str(outcome.result), visible=True),
    )


def _no_results(said: str = '') -> tuple[Any, ...]:
    return said, None, '', None, None, gr.update(value=None, visible=False)


def _facts(text: str) -> str:
    return f'<p class="facts">{html.escape(text)}</p>'


def _error(text: str) -> str:
    return f'<p class="error" role="alert">{html.escape(text[:1].upper() + text[1:])}</p>'
