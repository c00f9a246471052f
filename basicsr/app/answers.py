"""The functions that the components of the page call."""

from __future__ import annotations

import asyncio
import math
import re
import shutil
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from basicsr.app import views
from basicsr.app.examples import Example
from basicsr.app.facts import FELZENSZWALB, NO_MASKS, SAM, NetworkFacts, Settings
from basicsr.app.networks import Networks, choices_of, facts_of, line_of, method_of
from basicsr.app.samples import Samples
from basicsr.app.saving import archive, result_file
from basicsr.app.service import reason, safe_name
from basicsr.app.uploads import about_video, add_photos, forget, link
from basicsr.app.visit import Visit
from basicsr.app.visits import Visits
from basicsr.app.worker import Refused, Worker
from basicsr.utils.errors import BasicsrError, ImageFileError, OptionError, WeightsError

_EVERY = 0.25  # seconds
_SEEDS = 2**31 - 1
_MOST_NETWORKS = 4  # uploads of a visit
_LOADING = threading.BoundedSemaphore(1)  # uploaded networks, which may be large
_VISIT = re.compile('[0-9a-f]{32}')


class Answers:
    """What the page answers. Each method returns the values of its output components.

    Args:
        visits: of the page.
        networks: that it offers.
        worker: makes the samples.
        folder: for the samples of the page's own networks.
        examples: example photos.
        max_pixels: larger photos are refused.
        most: the largest number of photos of a visit.
    """

    def __init__(
        self,
        visits: Visits,
        networks: Networks,
        worker: Worker,
        folder: Path,
        examples: Sequence[Example] = (),
        *,
        max_pixels: int,
        most: int,
    ) -> None:
        self.visits, self.networks = visits, networks
        self.examples, self.most, self._max_pixels = examples, most, max_pixels
        visits.problem = networks.problem
        self._samples = Samples(worker, folder, self.examples[0].path if self.examples else None)

    def add(self, paths: list[str] | None, names: Any, request: gr.Request) -> tuple[Any, ...]:
        """Add uploads to the visit. ``names`` has their original ``names``, and those of ``videos`` left out."""
        visit = self._visit(request)
        given = names if isinstance(names, dict) else {}
        lists = (given.get(key) for key in ('videos', 'names'))
        videos, originals = ([str(one) for one in listed] if isinstance(listed, list) else [] for listed in lists)
        named = zip(paths or [], [*originals, *[''] * len(paths or [])], strict=False)
        try:
            files = [(Path(path), name or Path(path).name) for path, name in named]
            add_photos(visit, files, self._max_pixels, self.most, videos)
        finally:
            forget(paths or [])
        return view(visit)

    def act(self, event: gr.EventData, request: gr.Request) -> tuple[Any, ...]:
        """Do what a button of the lists asks for: show, cancel or remove a photo, add an example, refuse a video."""
        visit = self._visit(request)
        data = _data_of(event)
        what, name = str(data.get('what')), str(data.get('id', ''))
        visit.say()
        if what == 'show' and visit.of(name):
            visit.chosen = name
        elif what == 'cancel':
            visit.cancel(name)
        elif what == 'remove' and not visit.just_stopped(name):  # a second tap on Cancel is not Remove
            visit.remove(name)
        elif what == 'example' and name.isdecimal() and int(name) < len(self.examples):
            path = self.examples[int(name)].path
            add_photos(visit, [(path, path.name)], self._max_pixels, self.most)
        elif what == 'video':
            visit.say('; '.join(about_video(safe_name(one)) for one in name.split('\n')), is_error=True)
        return view(visit)

    async def watch(self, request: gr.Request) -> AsyncIterator[tuple[Any, ...]]:
        """Show what changes, as long as the page is open.

        Gradio sends the answers to all events of a page through one connection, and closes it when none is pending. An
        event that begins at this very moment never gets an answer (gradio 6.31). This event is always pending.
        """
        visit, token = self._visit(request), object()
        visit.watcher = token
        last: Any = None
        while visit.watcher is token and self.visits.is_open(_session(request), visit):
            now = view(visit)
            if now != last:
                last = now
                yield now
            await asyncio.sleep(_EVERY)

    def names(self, request: gr.Request) -> Any:
        """Return the networks to choose from, with those of the visit if the page was loaded again."""
        return gr.update(choices=choices_of([*self.networks.files, *self._visit(request).networks]))

    def _visit(self, request: gr.Request) -> Visit:
        try:
            return self.visits.of(_session(request), request.session_hash)
        except Refused as problem:
            raise gr.Error(str(problem), print_exception=False) from problem

    def leave(self, request: gr.Request) -> None:
        """End the visit."""
        self.visits.leave(request.session_hash)

    def deblur(self, request: gr.Request, *values: Any) -> tuple[Any, ...]:
        """Deblur all photos of the visit that have no result of these settings."""
        visit = self._visit(request)
        visit.say()
        try:
            if not visit.start(self._settings(visit, *values)):
                visit.say(
                    'All photos already have results with these settings. Change a setting to get a different one.'
                )
        except BasicsrError as problem:
            visit.say(str(problem), is_error=True, hides=True)
        return view(visit)

    def choose(self, request: gr.Request, *values: Any) -> tuple[Any, ...]:
        """Note new settings: results of others are labelled as such."""
        visit = self._visit(request)
        visit.say()
        try:
            visit.settings = self._settings(visit, *values)
        except BasicsrError as problem:
            visit.say(str(problem), is_error=True, hides=True)
        return view(visit)[:-1]  # the button may have been pressed meanwhile

    def network(self, name: str, request: gr.Request) -> tuple[Any, ...]:
        """Show the settings of a network."""
        visit = self._visit(request)
        try:
            facts = facts_of(self.networks.path(name, visit.networks))
        except Exception as problem:  # noqa: BLE001 - reason() logs unexpected errors
            facts, words = NetworkFacts(), views.error(reason(problem))
        else:
            words = views.faint(line_of(name, facts))
        value = gr.update(visible=facts.mask_value is not None, value=facts.mask_value or 1.0)
        return words, method_of(name), gr.update(visible=facts.takes_masks), value

    def own(self, path: str | None, name: Any, request: gr.Request) -> tuple[Any, ...]:
        """Offer an uploaded network to its visitor, or say why not."""
        visit = self._visit(request)
        if path is None:
            return gr.update(), ''
        given = safe_name(name if name and isinstance(name, str) else Path(path).name)
        kept = visit.folder / given
        try:
            kept = visit.new_folder() / given
            if len(visit.networks) >= _MOST_NETWORKS:
                raise OptionError(
                    f'you can upload up to {_MOST_NETWORKS} networks; open the page in a new tab to use others'
                )
            if kept.suffix not in ('.safetensors', '.pth'):
                raise WeightsError(f'{given}: expected a network file, .safetensors or .pth')
            link(Path(path), kept)
            with _LOADING:
                facts_of(kept)
        except Exception as problem:  # noqa: BLE001 - reason() logs unexpected errors
            if kept.parent != visit.folder:
                shutil.rmtree(kept.parent, ignore_errors=True)
            return gr.update(), views.error(f'{given} was refused: {reason(problem, kept)}')
        finally:
            forget([path])
        label, number = f'{kept.stem} (yours)', 1
        while label in {**visit.networks, **self.networks.files}:
            number += 1
            label = f'{kept.stem} (yours, {number})'
        visit.networks[label] = kept
        names = [*self.networks.files, *visit.networks]
        return gr.update(choices=choices_of(names), value=label), ''

    async def samples(self, name: str, request: gr.Request) -> AsyncIterator[str]:
        """Show what each method makes of a small example, now or as soon as no photos wait."""
        visit, token = self._visit(request), object()
        visit.sampler = token
        try:
            path = self.networks.path(name, visit.networks)
        except BasicsrError:
            return

        def wanted() -> bool:
            return visit.sampler is token and self.visits.is_open(_session(request), visit)

        async for shown in self._samples.show(visit, path, wanted):
            yield shown

    def save(self, event: gr.EventData, request: gr.Request) -> str:
        """Make a file for download: one result, or all in an archive, with the chosen strength."""
        visit = self._visit(request)
        data = _data_of(event)
        strength, name = data.get('strength', 1), str(data.get('id', ''))
        is_number = isinstance(strength, (int, float)) and math.isfinite(strength)
        strength = float(min(max(strength, 0), 1)) if is_number else 1.0
        wanted = [(photo, photo.result) for photo in visit.photos if photo.result and name in ('all', photo.id)]
        chosen = [(photo, done) for photo, done in wanted if done.result.is_file()]
        lost = [photo.name for photo, done in wanted if (photo, done) not in chosen]
        visit.say(f'Not in the archive, because its file is gone: {", ".join(lost)}' if lost and name == 'all' else '')
        try:
            if not chosen:
                raise ImageFileError('the photo was deleted from this page; upload it again')
            files = (result_file(photo.source, done, strength) for photo, done in chosen)
            path = archive(files, visit.new_download() / 'deblurred.zip') if name == 'all' else next(files)
        except Exception as problem:  # noqa: BLE001 - reason() logs unexpected errors
            visit.say(reason(problem, chosen[0][0].source if chosen else None), is_error=True)
            return ''
        return views.ready(path)

    def _settings(self, visit: Visit, *values: Any) -> Settings:
        """Return the settings of the components, without those that their network does not use."""
        settings = settings_of(*values)
        facts = facts_of(self.networks.path(settings.network, visit.networks))
        if not facts.takes_masks or settings.method == 'kernel':
            return Settings(settings.network, settings.method)
        return settings if settings.mask_value != facts.mask_value else replace(settings, mask_value=None)


def _session(request: gr.Request) -> str:
    """Return the identity of a tab, which stays when its page is loaded again."""
    own = str(request.headers.get('x-visit', '')) if hasattr(request, 'headers') else ''
    return own if _VISIT.fullmatch(own) else str(request.session_hash)


def _data_of(event: gr.EventData) -> dict[str, Any]:
    return event._data if isinstance(event._data, dict) else {}


def view(visit: Visit) -> tuple[Any, ...]:
    """Return the list of photos, the status, the result and the button of a visit."""
    busy = visit.busy
    button = gr.update(value='Working…' if busy else 'Deblur', interactive=not busy and not visit.problem)
    return views.photo_list(visit), views.status(visit), views.result(visit), button


def settings_of(
    method: str, network: str | None, masks: str, dropout: float | None, seed: float | None, value: float | None
) -> Settings:
    """Return the settings of the components.

    Raises:
        OptionError: a value is out of range; the message names the field.
    """
    if not isinstance(method, str) or method not in views.METHODS:
        raise OptionError(f'Method: unknown method {method!r}')
    if not isinstance(network, str):
        raise OptionError('Network: choose one')
    if masks not in (FELZENSZWALB, SAM, NO_MASKS):
        raise OptionError(f'Masks: unknown choice {masks!r}')
    share = _number('Mask dropout', dropout, 0, 1)
    number = _number('Seed of the mask dropout', 0 if seed is None else seed, 0, _SEEDS)
    if number != int(number):
        raise OptionError(f'Seed of the mask dropout: expected a whole number, got {number:g}')
    weight = None if value is None else _number('Mask value', value, 0.001, 1)
    return Settings(network, method, masks, share, int(number), weight)


def _number(field: str, value: Any, least: float, most: float) -> float:
    if not isinstance(value, (int, float)) or not math.isfinite(value) or not least <= value <= most:
        raise OptionError(f'{field}: expected a number from {least:g} to {most:.0f}, got {value}')
    return float(value)
