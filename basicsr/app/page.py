"""The layout of the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from basicsr.app import views
from basicsr.app.answers import Answers
from basicsr.app.facts import FELZENSZWALB, NO_MASKS, SAM, NetworkFacts
from basicsr.app.networks import choices_of, facts_of, line_of, method_of
from basicsr.app.service import reason
from basicsr.app.visits import MOST_VISITS
from basicsr.images.photo import PHOTO_SUFFIXES
from basicsr.videos.opening import VIDEO_SUFFIXES

TITLE = 'Deblur a photo'
WAITING = 200
"""Maximum number of waiting requests; further ones are rejected."""
STATIC = Path(__file__).with_name('static')
CSS = (STATIC / 'page.css').read_text(encoding='utf-8')
HEAD = f'<script>{(STATIC / "page.js").read_text(encoding="utf-8")}</script>'
_NAMES = '(files) => [files, { names: (files || []).map((file) => file.orig_name || ""), videos: window.takeVideos() }]'
_NAME = '(file, name) => [file, file ? file.orig_name || "" : ""]'
_AT_ONCE = "() => { window.deblurring?.(); return ['Working…']; }"
_SEND = "window.{name} = (data) => trigger('click', data);"


def theme() -> Any:
    """Return gradio's default theme with system fonts, so that no fonts are downloaded."""
    return gr.themes.Default(
        font=['system-ui', 'sans-serif'], font_mono=['ui-monospace', 'monospace'], primary_hue='blue'
    ).set(block_info_text_color='*neutral_600', block_info_text_color_dark='*neutral_300')


def build_page(answers: Answers, megapixels: float) -> gr.Blocks:
    """Build the page.

    Args:
        answers: the functions of its components.
        megapixels: largest size of a photo.
    """
    networks = answers.networks
    chosen, problem, line = NetworkFacts(), networks.problem, ''
    if networks.first is not None:
        try:
            chosen = facts_of(networks.files[networks.first])
            line = views.faint(line_of(networks.first, chosen))
        except Exception as error:  # noqa: BLE001 - reason() logs unexpected errors
            line = views.error(reason(error))
    private: dict[str, Any] = {'api_visibility': 'private', 'show_progress': 'hidden', 'concurrency_limit': None}
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        gr.HTML(_introduction(), elem_id='title')
        with gr.Row(elem_id='columns'):
            with gr.Column(scale=2, min_width=330):
                upload = gr.UploadButton(
                    'Choose photos',
                    file_count='multiple',
                    file_types=[*PHOTO_SUFFIXES, *VIDEO_SUFFIXES],
                    elem_id='upload',
                )
                # gradio would refuse other types without the file's name, and leave an empty file on the disk
                upload.preprocess = lambda payload: [file.path for file in payload or []]
                names = gr.JSON(visible=False)
                gr.HTML(_hint(megapixels, answers.most))
                photos = gr.HTML('', elem_id='photos')
                start = gr.Button('Deblur', variant='primary', interactive=not problem, elem_id='start')
                with gr.Accordion('Method and network', open=False, elem_id='settings') as more:
                    settings, extra = _settings(answers, chosen, line)
                gr.HTML(views.examples(answers.examples), elem_id='examples')
            with gr.Column(scale=5, min_width=330, elem_id='right'):
                said = gr.HTML(views.error(problem) if problem else '', elem_id='said')
                result = gr.HTML('', elem_id='result')
        ready = gr.HTML('', elem_id='ready', js_on_load=_SEND.format(name='askForFile'))
        desk = gr.HTML('', elem_id='desk', js_on_load=_SEND.format(name='askPage'))
        again = gr.HTML('', elem_id='again', js_on_load=_SEND.format(name='watchPage'))

        view = [photos, said, result, start]
        upload.upload(answers.add, [upload, names], view, js=_NAMES, **private).then(
            None, None, None, js='() => window.uploaded()'
        )
        page.load(answers.names, None, settings[1], **private)
        desk.click(answers.act, None, view, trigger_mode='multiple', **private)
        ready.click(answers.save, None, ready, **{**private, 'concurrency_limit': 2})
        gr.on([page.load, again.click], answers.watch, None, view, trigger_mode='multiple', **private)
        start.click(None, None, start, js=_AT_ONCE)
        start.click(answers.deblur, settings, view, trigger_mode='once', **private)
        page.unload(answers.leave)
        method, network = settings[:2]
        words, mask_part, samples, own, own_name, own_words = extra
        network.change(answers.network, network, [words, method, mask_part, settings[-1]], **private)
        own.upload(answers.own, [own, own_name], [network, own_words], js=_NAME, **private)
        gr.on(
            [each.change for each in settings],
            answers.choose,
            settings,
            view[:-1],
            trigger_mode='always_last',
            **private,
        )
        gr.on([more.expand, network.change], answers.samples, network, samples, trigger_mode='multiple', **private)
    page.queue(max_size=WAITING)
    # every open page has one pending event; gradio's 40 would be all pages
    page.max_threads = page._queue.max_thread_count = 4 * MOST_VISITS
    return page


def calls_of(page: gr.Blocks) -> dict[int, tuple[Callable[[Any], bool], ...]]:
    """Return the functions of the page by number, with a check for each of their values.

    Gradio reports values of other kinds as errors of the program, with its inner names.
    """
    return {
        number: tuple(_check_of(component) for component in function.inputs)
        for number, function in page.fns.items()
        if function.fn is not None
    }


def _check_of(component: Any) -> Callable[[Any], bool]:
    if isinstance(component, gr.UploadButton):
        return _are_files if component.file_count == 'multiple' else _is_file_or_none
    if isinstance(component, (gr.Radio, gr.Dropdown)):
        return lambda value: value is None or isinstance(value, str)
    if isinstance(component, (gr.Slider, gr.Number)):
        return lambda value: value is None or type(value) in (int, float)
    return lambda value: True


def _is_file_or_none(value: Any) -> bool:
    if value is None:
        return True
    meta = value.get('meta') if isinstance(value, dict) else None
    return isinstance(meta, dict) and meta.get('_type') == 'gradio.FileData' and isinstance(value.get('path'), str)


def _are_files(value: Any) -> bool:
    return value is None or (
        isinstance(value, list) and all(one is not None and _is_file_or_none(one) for one in value)
    )


def _settings(answers: Answers, chosen: NetworkFacts, line: str) -> tuple[list[Any], tuple[Any, ...]]:
    """Build the settings, in the order of :func:`~basicsr.app.answers.settings_of`, and what belongs to them."""
    networks = answers.networks
    choices = [(words, name) for name, words in views.METHODS.items()]
    first = method_of(networks.first or '')
    method = gr.Radio(choices, value=first, label='Method', elem_id='method')
    network = gr.Dropdown(choices_of(networks.files), value=networks.first, label='Network', elem_id='network')
    words = gr.HTML(line, elem_id='about')
    own = gr.UploadButton('Use your own network file', file_types=['.safetensors', '.pth'], size='sm', elem_id='own')
    own_name = gr.JSON(visible=False)
    own_words = gr.HTML('', elem_id='own-said')
    samples = gr.HTML('', elem_id='samples')
    with gr.Column(visible=chosen.takes_masks) as mask_part:
        masks = gr.Dropdown([FELZENSZWALB, SAM, NO_MASKS], value=FELZENSZWALB, label='Masks', elem_id='generator')
        dropout = gr.Slider(0, 1, 0, step=0.05, label='Mask dropout: share of the regions to drop', elem_id='dropout')
        seed = gr.Number(0, label='Seed of the mask dropout', elem_id='seed')
        weighs = chosen.mask_value is not None
        value = gr.Slider(
            0.001,
            1,
            chosen.mask_value or 1.0,
            step=0.001,
            label='Mask value: weight of the masks (default: as in training)',
            visible=weighs,
            elem_id='value',
        )
    own.preprocess = lambda payload: payload and payload.path  # as for photos
    for each in (method, network, masks, dropout, seed, value):
        each.preprocess = lambda payload: payload  # settings_of() checks it, and names the field
    return [method, network, masks, dropout, seed, value], (words, mask_part, samples, own, own_name, own_words)


def _hint(megapixels: float, most: int) -> str:
    limits = f'up to {megapixels:g} megapixels each, {most} at a time'
    return f'<p class="faint" id="hint">or drop or paste them anywhere on this page; {limits}</p>'


def _introduction() -> str:
    return (
        f'<h1>{TITLE}</h1>'
        '<p>Sharpens photos that are blurred by camera shake or moving objects. It cannot restore details that strong '
        'blur or a missed focus has destroyed, and fine details in the result may be wrong. Photos stay on the '
        'computer that runs this page, and are deleted after your visit.</p>'
    )
