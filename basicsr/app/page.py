"""The layout of the page, and the functions that its components call."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from basicsr.app.service import NetworkFacts, Service, ShownResult, reason

TITLE = 'Deblur a photo'
WAITING = 20
"""Maximum number of waiting requests; further ones are rejected."""
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
    """Return gradio's default theme with system fonts, so that no fonts are downloaded."""
    return gr.themes.Default(
        font=['system-ui', 'sans-serif'], font_mono=['ui-monospace', 'monospace'], primary_hue='blue'
    )


def build_page(service: Service, examples: Sequence[Path] = ()) -> gr.Blocks:
    """Build the page.

    Args:
        service: deblurs the photos.
        examples: example photos, in the folder that browsers may read.
    """
    first = next(iter(service.networks), None)
    chosen, problem = (NetworkFacts(), service.problem) if first is None else _facts_of(service, first)
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
                    with gr.Column(visible=chosen.takes_masks) as mask_part:
                        masks = _mask_part(service.generators, chosen)
            with gr.Column(scale=3, min_width=320):
                said = gr.HTML(_error(problem) if problem else '', elem_id='said')
                download = gr.DownloadButton('Download in full resolution', visible=False, elem_id='download')
                (slider, counted, regions, kernel), tabs = _result_part(chosen)

        results = [said, slider, counted, regions, kernel, download]
        one_at_a_time = {'concurrency_limit': 1, 'concurrency_id': 'network', **private}
        photo.change(answers.look, photo, [preview, *results], concurrency_limit=2, show_progress_on=preview, **private)
        tray.click(answers.pick, tray, photo, show_progress='hidden', concurrency_limit=4, **private)
        network.change(answers.choose, network, [mask_part, masks[-1], *tabs, start, said], **one_at_a_time)
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
        deblurred.then(None, js=_SHOW_RESULTS)  # again, because the page is longer now
    page.queue(max_size=WAITING)
    return page


class Answers:
    """The functions that the components of the page call.

    Args:
        service: deblurs the photos.
        examples: example photos.
    """

    def __init__(self, service: Service, examples: Sequence[Path] = ()) -> None:
        self.service, self.examples = service, examples

    def look(self, path: str | None) -> tuple[Any, ...]:
        """Show an upload, or an error, and clear the previous results."""
        hidden = gr.update(value=None, visible=False)
        if path is None:
            return hidden, *_no_results()
        try:
            shown, words = self.service.look(Path(path))
        except Exception as error:  # noqa: BLE001 - reason() logs unexpected errors
            return hidden, *_no_results(_error(reason(error, Path(path))))
        return gr.update(value=str(shown), visible=True), *_no_results(_facts(words))

    def pick(self, index: int) -> str:
        """Return the path of an example, as if it had been uploaded."""
        return str(self.examples[index])

    def choose(self, network: str) -> tuple[Any, ...]:
        """Show the components that a network uses."""
        about, problem = _facts_of(self.service, network)
        return (
            gr.update(visible=about.takes_masks),
            gr.update(visible=about.mask_value is not None, value=about.mask_value or 1.0),
            gr.Tabs(selected=_FIRST_TAB),  # the selected tab may disappear
            gr.update(visible=about.takes_masks),
            gr.update(visible=about.finds_kernel),
            gr.update(interactive=not problem),
            _error(problem) if problem else '',
        )

    def deblur(
        self, path: str | None, name: str, network: str, masks: str, dropout: float, seed: float | None, value: float
    ) -> tuple[Any, ...]:
        """Deblur an upload and show the results, or an error."""
        if path is None:
            return _no_results(_error('Choose a photo first.'))
        try:
            weighing: dict[str, Any] = {'mask_dropout': dropout, 'mask_value': value, 'seed': int(seed or 0)}
            done = self.service.deblur(Path(path), name or Path(path).name, network, masks, **weighing)
            return _results(done, dropout)
        except Exception as error:  # noqa: BLE001 - reason() logs unexpected errors
            return _no_results(_error(reason(error, Path(path))))


def _photo_part(examples: Sequence[Path]) -> tuple[Any, ...]:
    """Build the upload, a hidden field for its file name, a preview and the examples."""
    photo = gr.File(label='Photo', file_count='single', type='filepath', height=130, elem_id='photo')
    name = gr.Textbox(visible=False)
    preview = gr.Image(label='Your photo', height=180, interactive=False, visible=False, buttons=[], elem_id='preview')
    tray = gr.Dataset(
        label='Examples',
        components=[gr.Image(visible=False)],
        samples=[[str(path)] for path in examples],
        type='index',
        visible=bool(examples),
        elem_id='examples',
    )
    return photo, name, preview, tray


def _mask_part(generators: Sequence[str], chosen: NetworkFacts) -> tuple[Any, ...]:
    """Build the mask settings, in the order of :meth:`Answers.deblur`."""
    generator = gr.Dropdown(
        list(generators), value=generators[0], label='Masks', info='Segmentation method', elem_id='generator'
    )
    dropout = gr.Slider(
        0, 1, 0, step=0.05, label='Mask dropout', info='Share of the regions to drop', elem_id='dropout'
    )
    seed = gr.Number(0, precision=0, minimum=0, maximum=2**31 - 1, label='Seed of the mask dropout', elem_id='seed')
    value = gr.Slider(
        0.001,
        1,
        chosen.mask_value or 1.0,
        step=0.001,
        label='Mask value',
        info='Weight of the masks (default: as in training)',
        visible=chosen.mask_value is not None,
        elem_id='value',
    )
    return generator, dropout, seed, value


def _result_part(chosen: NetworkFacts) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Build slider, number and image of regions, and kernel; and all tabs, with those that only some networks use."""
    shown: dict[str, Any] = {'interactive': False, 'buttons': ['fullscreen']}
    label = 'Left: before. Right: after. Drag the divider.'
    with gr.Tabs() as all_tabs:
        with gr.Tab('Before and after', id=_FIRST_TAB):
            slider = gr.ImageSlider(label=label, type='filepath', max_height=640, elem_id='slider', **shown)
        with gr.Tab('Regions', visible=chosen.takes_masks) as regions_tab:
            counted = gr.Markdown('', elem_id='counted')
            regions = gr.Image(show_label=False, height=640, elem_id='regions', **shown)
        with gr.Tab('Blur kernel', visible=chosen.finds_kernel) as kernel_tab:
            kernel = gr.Image(show_label=False, interactive=False, height=420, buttons=[], elem_id='kernel')
    return (slider, counted, regions, kernel), (all_tabs, regions_tab, kernel_tab)


def _facts_of(service: Service, network: str) -> tuple[NetworkFacts, str]:
    """Return the properties of a network, and the reason if it cannot be used."""
    try:
        return service.about(network), ''
    except Exception as error:  # noqa: BLE001 - reason() logs unexpected errors
        return NetworkFacts(), reason(error)


def _introduction(service: Service) -> str:
    return (
        f'# {TITLE}\n\n'
        'Sharpens photos that are blurred by camera shake or moving objects, '
        f'up to {service.max_megapixels:g} megapixels. It cannot restore details that strong blur or a missed focus '
        'has destroyed, and fine details in the result may be wrong. Photos stay on the computer that runs this page '
        'and are deleted within an hour.'
    )


def _results(done: ShownResult, dropped: float) -> tuple[Any, ...]:
    left = f' (after dropping {dropped:.0%})' if dropped else ''
    text = _facts(done.line)
    if done.warning:
        text += f'<p class="warning">The network {html.escape(done.warning)}</p>'
    return (
        text,
        (str(done.before), str(done.after)),
        f'{done.count} region{"" if done.count == 1 else "s"}{left}' if done.regions else '',
        None if done.regions is None else str(done.regions),
        None if done.kernel is None else str(done.kernel),
        gr.update(value=str(done.result), visible=True),
    )


def _no_results(said: str = '') -> tuple[Any, ...]:
    return said, None, '', None, None, gr.update(value=None, visible=False)


def _facts(text: str) -> str:
    return f'<p class="facts">{html.escape(text)}</p>'


def _error(text: str) -> str:
    return f'<p class="error" role="alert">{html.escape(text[:1].upper() + text[1:])}</p>'
