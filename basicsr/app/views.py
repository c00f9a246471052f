"""HTML of the page: the list of photos, the progress, the result and the examples."""

from __future__ import annotations

import html
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from basicsr.app.examples import Example
from basicsr.app.facts import Settings, ShownResult
from basicsr.app.visit import BUSY, Entry, Visit

METHODS = {
    'auto': 'Automatic: blur kernels where they explain the blur, the network elsewhere; sharp photos stay as they are',
    'kernel': 'Blur kernels: reverses the estimated camera movement; areas that no kernel explains stay unchanged',
    'network': 'Network: a neural network sharpens the whole photo, also where objects moved',
}
"""Methods of the page, with one line each."""
_USED = {
    'kernel': 'blur kernels',
    'network': 'network {network}',
    'kernel and network': 'blur kernels, and network {network}',
    'photo': 'none: the photo is unchanged',
}
_CONSEQUENCES = {
    'kernel': ', so the blur was reversed with it',
    'network': ', so the network was used',
    'photo': ', so nothing was changed',
}
_STEPS = {
    'loading': 'loading',
    'kernel': 'estimating blur kernels',
    'network': 'running the network',
    'tile': 'running the network',
    'showing': 'preparing the images for the screen',
}
_COUNTED = {'kernel': 'estimating blur kernels: step', 'tile': 'running the network: tile'}


def name_of(method: str) -> str:
    """Return the name of a method."""
    return METHODS[method].split(':')[0]


def address(path: Path) -> str:
    """Return the address of a file in the folder that browsers may read."""
    return f'/gradio_api/file={quote(str(path))}'


def error(text: str) -> str:
    """Return an error message."""
    return f'<p class="error" role="alert">{html.escape(text)}</p>'


def warning(text: str) -> str:
    """Return a message that is no error."""
    return f'<p class="warning" role="status">{html.escape(text)}</p>'


def faint(text: str) -> str:
    """Return a line of minor importance."""
    return f'<p class="faint">{html.escape(text)}</p>'


def photo_list(visit: Visit) -> str:
    """Return the list of photos, a row each, with what happens to them."""
    rows = ''.join(_row(visit, photo) for photo in visit.photos)
    many = len(visit.photos) > 1
    all_of = f'<p class="faint">{_counts(visit)}</p>' if many else ''
    return f'{all_of}<ul class="rows">{rows}</ul>' if rows else ''


def _row(visit: Visit, photo: Entry) -> str:
    name = html.escape(photo.name)
    act = 'cancel' if photo.state in BUSY else 'remove'
    label = f'{"Cancel" if act == "cancel" else "Remove"} {name}'
    chosen = ' aria-current="true"' if photo.id == visit.chosen else ''
    state = html.escape(_state(photo, visit))
    return (
        f'<li class="row {photo.state}"><button class="pick" data-do="show" data-id="{photo.id}"{chosen}>'
        f'<img src="{address(photo.thumbnail)}" alt="" width="56" height="56">'
        f'<span><span class="name">{name}</span> <span class="faint">{html.escape(photo.facts)}</span> '
        f'<span class="what">{state}</span></span></button>'
        f'<button class="small{"" if act == "cancel" else " icon"}" data-do="{act}" data-id="{photo.id}" '
        f'aria-label="{label}">{"Cancel" if act == "cancel" else "✕"}</button></li>'
    )


def _state(photo: Entry, visit: Visit) -> str:
    if photo.state == 'failed':
        return f'failed: {photo.reason}'
    if photo.state == 'working':
        _, done, total = photo.step
        return f'working: {done / total:.0%}' if total > 1 else 'working'
    if photo.state == 'done' and visit.is_outdated(photo):
        return 'done, with other settings'
    if photo.state == 'cancelled' and photo.reason:
        return f'cancelled: {photo.reason}'
    return {'new': '', 'waiting': 'waiting', 'done': 'done', 'cancelled': 'cancelled'}[photo.state]


def _step(photo: Entry) -> str:
    name, done, total = photo.step
    if name in _COUNTED and total > 1:
        return f'{_COUNTED[name]} {max(done, 1)} of {total}'
    return _STEPS.get(name, 'starting')


def _counts(visit: Visit) -> str:
    states = [photo.state for photo in visit.photos]
    parts = [f'{len(states)} photos']
    for state, word in (('done', 'done'), ('working', 'working'), ('waiting', 'waiting'), ('failed', 'failed')):
        if state in states:
            parts.append(f'{states.count(state)} {word}')
    return ', '.join(parts)


def status(visit: Visit) -> str:
    """Return what the page says: the progress of the work with a button that ends it, or the last message."""
    said = (error if visit.is_error else warning)(visit.message) if visit.message else ''
    if not visit.busy:
        return said or (error(visit.problem) if visit.problem else '')
    photo = next((photo for photo in visit.photos if photo.state == 'working'), None)
    if photo is None:
        before = max((each.step[1] for each in visit.photos if each.step[0] == 'waiting'), default=0)
        line = 'Starting' if not before else f'Waiting for {before} photo{"s" * (before > 1)} from other visitors'
        bar, seconds = '<progress aria-label="Progress"></progress>', ''
    else:
        _, done, total = photo.step
        line = f'Working on {photo.name}'
        amount = f' value="{done}" max="{total}"' if total > 1 else ''
        bar = f'<progress aria-label="Progress of {html.escape(photo.name)}"{amount}></progress>'
        seconds = f'{_step(photo).capitalize()} · {time.monotonic() - photo.started:.0f} s'
    left = sum(each.state in BUSY for each in visit.photos)
    more = f' <span class="faint">({left} photos left)</span>' if left > 1 else ''
    button = 'Cancel all' if left > 1 else 'Cancel'
    return (
        f'{said}<div class="working"><p role="status">{html.escape(line)}{more}</p>{bar}'
        f'<p class="step">{html.escape(seconds)}</p>'
        f'<button class="small" data-do="cancel" data-id="">{button}</button></div>'
    )


def result(visit: Visit) -> str:
    """Return the photo that is shown: with its result, or alone; empty beside an error."""
    photo = visit.shown
    if photo is None or (visit.hides and not visit.busy):
        return ''
    if photo.state == 'failed':
        return error(f'{photo.name}: {photo.reason}')
    if photo.result is None:
        width, height = photo.size
        return (
            f'<figure class="compare single" style="{_shape(width, height)}"><img class="before" '
            f'src="{address(photo.preview)}" alt="The photo {html.escape(photo.name)}"></figure>'
        )
    done = photo.result
    stale = _stale(photo) if photo.state in BUSY or visit.is_outdated(photo) else ''
    fresh = f'{visit.finished}' if not visit.busy else ''
    parts = stale, _sharp(done), _compare(photo, done), _tools(visit, photo), _details(photo, done)
    return f'<div data-fresh="{fresh}">{"".join(parts)}</div>'


def _shape(width: int, height: int) -> str:
    return f'--w:{width};--h:{height}'


def _stale(photo: Entry) -> str:
    assert photo.settings is not None  # noqa: S101 - of the result
    how = _words(photo.settings)
    if photo.state in BUSY:
        text = f'Previous result ({how}), shown until the new one is ready.'
    else:
        text = f'This result was made with other settings ({how}). Press Deblur to use the current ones.'
    return f'<p class="warning stale" role="status">{text}</p>'


def _words(settings: Settings) -> str:
    return html.escape(f'{name_of(settings.method).lower()}, network {settings.network}')


def _sharp(done: ShownResult) -> str:
    if not done.sharp:
        return ''
    left = ' It was left as it is.' if done.method == 'photo' else ''
    return f'<p class="note" role="status">This photo looks sharp.{left}</p>'


def _compare(photo: Entry, done: ShownResult) -> str:
    name = html.escape(photo.name)
    return (
        f'<figure class="compare" style="{_shape(*done.size)}">'
        f'<img class="before" src="{address(done.before)}" alt="Before: {name}">'
        f'<img class="after" src="{address(done.after)}" alt="After: {name}, deblurred">'
        '<span class="side left" aria-hidden="true">Before</span>'
        '<span class="side right" aria-hidden="true">After</span>'
        '<span class="line" aria-hidden="true"></span>'
        '<input class="divider" type="range" min="0" max="100" step="1" value="50" '
        'aria-label="Divider: before on its left, after on its right"></figure>'
    )


def _tools(visit: Visit, photo: Entry) -> str:
    assert photo.result is not None  # noqa: S101 - only shown with a result
    file = photo.result.result
    done = sum(each.result is not None for each in visit.photos)
    zipped = f'<button class="small" data-do="zip" data-id="all">Download all {done} (ZIP)</button>' if done > 1 else ''
    return (
        '<div class="tools"><label class="strength">Strength '
        '<input type="range" min="0" max="100" step="1" value="100" '
        'aria-label="Strength of the change in percent"> <output>100%</output></label>'
        f'<a class="primary" id="download" data-do="save" data-id="{photo.id}" href="{address(file)}" '
        f'download="{html.escape(file.name)}">Download</a>{zipped}</div>'
    )


def _details(photo: Entry, done: ShownResult) -> str:
    network = '' if photo.settings is None else photo.settings.network
    rows = [('Method', _USED[done.method].format(network=network))]
    if done.reason:
        rows.append(('Reason', _reason(done)))
    rows += [('Photo', done.facts), ('Time', done.time)]
    if done.memory is not None:
        rows.append(('Memory', f'{done.memory:.0f} MiB (peak of the process)'))
    rows += [('Note', note) for note in done.notes]
    if done.regions is not None:
        rows.append(('Regions', f'{done.count}'))
    listed = ''.join(f'<dt>{name}</dt><dd>{html.escape(text)}</dd>' for name, text in rows)
    if done.kernel is not None:
        alt = 'The blur kernel: the path of a point of light'
        listed += f'<dt>Blur kernel</dt><dd><img id="kernel" src="{address(done.kernel)}" alt="{alt}"></dd>'
    regions = ''
    if done.regions is not None:
        alt = f'The photo with its {done.count} regions in colours'
        image = f'<img loading="lazy" src="{address(done.regions)}" alt="{alt}">'
        regions = f'<details id="regions"><summary>Show the regions</summary>{image}</details>'
    warning = f'<p class="warning">The network {html.escape(done.warning)}</p>' if done.warning else ''
    return f'{warning}<h2>What happened</h2><dl class="happened">{listed}</dl>{regions}'


def _reason(done: ShownResult) -> str:
    words = f'{done.reason[:1].upper()}{done.reason[1:].rstrip(".")}'
    consequence = '' if ', ' in words else _CONSEQUENCES.get(done.method, '')  # some reasons name it themselves
    return f'{words}{consequence}.'


def ready(path: Path) -> str:
    """Return a link to a file that the script downloads at once."""
    return f'<a data-now href="{address(path)}" download="{html.escape(path.name)}">{html.escape(path.name)}</a>'


def examples(shown: Sequence[Example]) -> str:
    """Return the example photos as buttons."""
    if not shown:
        return ''
    buttons = ''.join(
        f'<button data-do="example" data-id="{number}">'
        f'<img src="{address(example.path)}" alt="{html.escape(example.alt)}">'
        f'<span>{html.escape(example.caption)}</span></button>'
        for number, example in enumerate(shown)
    )
    return f'<h2>Examples</h2><div class="examples">{buttons}</div>'


def samples(pairs: Sequence[tuple[str, Path]]) -> str:
    """Return small images with captions, next to each other."""
    figures = (
        f'<figure><img src="{address(path)}" alt="Sample: {html.escape(text)}">'
        f'<figcaption>{html.escape(text)}</figcaption></figure>'
        for text, path in pairs
    )
    return f'<div class="samples">{"".join(figures)}</div>'
