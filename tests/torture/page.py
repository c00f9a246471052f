"""Send the web page hostile requests, many at once, and photos for which its network raises."""

from __future__ import annotations

import json
import os
import random
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlsplit

from basicsr.images.files import imwrite
from tests.helpers.pages import scene, write_masked
from tests.helpers.project import ROOT
from tests.helpers.web_server import API, Server, running
from tests.torture.crafted import single_files
from tests.torture.hostile import REFUSED, Request, hostile_requests
from tests.torture.raising import ERRORS
from tests.torture.tally import Tally

SECRET = b'4d1f-nobody-may-read-this-93ab'
LEAKS = (SECRET, b'root:x:0', b'Traceback (most recent', b'PATH=/', b' object at 0x')
MEMORY = 512
"""MiB more than the idle server and its worker."""
AT_ONCE = 16
UPLOADED = 0.15
"""The share of malicious files among the requests."""
SETTINGS = 'network', 'masked', 'none', 0, 0, 1
BY = ['-c', f'import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.torture.raising import main; main()']


def torture(work: Path, count: int, rng: random.Random) -> list[Tally]:
    """Send as many requests as asked for, then see whether a visitor is served as before."""
    place = work / 'page'
    (place / 'examples').mkdir(parents=True)
    write_masked(place / 'masked.pth')
    imwrite(place / 'examples' / 'plain.png', scene(50, 70, seed=5))
    imwrite(place / 'plain.png', scene(50, 70, seed=5))
    secrets = [place / 'secret.txt', place / 'examples.txt']
    for path in secrets:
        path.write_bytes(SECRET)
    arguments = '--model', place / 'masked.pth', '--examples', place / 'examples', '--max-megapixels', '2'
    tally = Tally('Hostile requests', f'no leak, no crash, at most {MEMORY} MiB above idle, no file outside')
    with running(work / 'p', *arguments) as server:
        assert served(server, place / 'plain.png', 'before')
        idle = memory(server.process.pid)
        files = malicious_files(work / 'malicious', round(UPLOADED * count), rng)
        requests = hostile_requests(count - len(files), rng, server, secrets)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            watched = pool.submit(lambda: None)
            uploads = [pool.submit(upload, server, path, number) for number, path in enumerate(files)]
            answers = [pool.submit(answered, server, one) for one in requests]
            most = idle
            while not all(one.done() for one in (watched, *uploads, *answers)):
                most = max(most, memory(server.process.pid))
                time.sleep(0.1)
        for outcome, problem in (one.result() for one in uploads):
            tally.add('malicious files', outcome, problem)
        for request, (outcome, problem) in zip(requests, (one.result() for one in answers), strict=True):
            tally.add(request.kind, outcome, problem)
        problems = []
        if not served(server, place / 'plain.png', 'after'):
            problems.append('a visitor was not served after the requests')
        if most - idle > MEMORY:
            problems.append(f'the server and its worker took {most - idle} MiB more')
        outside = [str(path) for path in (place / 'outside', Path('/tmp/outside'), work / 'pwned') if path.exists()]
        strange = [path.name for path in (work / 'p').iterdir() if not path.name.startswith(('deblur-page-', 'pymp-'))]
        problems += [f'files outside of the folder of the page: {outside + strange}'] * bool(outside + strange)
        server.end()
        errors = server.errors()
        problems += [f'the server printed {errors[-2000:]}'] * ('Traceback' in errors)
        tally.failures += problems
        tally.notes.append(f'most memory: {most - idle} MiB above idle ({idle} MiB), {AT_ONCE} requests at once')
    return [tally, raising(work, arguments, place / 'plain.png', max(1, count // 40))]


def malicious_files(folder: Path, count: int, rng: random.Random) -> list[Path]:
    """Write crafted photos and networks."""
    folder.mkdir()
    crafted = [files for _, files in single_files() if files.reader in ('photo', 'network')]
    chosen = rng.sample(crafted, min(count, len(crafted)))
    for number, one in enumerate(chosen):
        one.write(folder / str(number))
    return [folder / str(number) / one.name for number, one in enumerate(chosen)]


def answered(server: Server, request: Request) -> tuple[str, str]:
    """Send a request; return how it was answered, and what is wrong, if anything."""
    place = urlsplit(server.address)
    try:
        status, answer = request.send(str(place.hostname), int(place.port or 0))
    except OSError as error:
        return 'no connection', f'{request.kind}: {error!r} for {request.pieces[0][:200]!r}'
    if request.session and status == 200:
        answer += events(server, quote(request.session), b'process_completed', 5)
    leak = next((leak for leak in LEAKS if leak in answer), b'')
    if leak:
        return 'FAILED: leak', f'{request.kind}: {leak!r} in the answer to {request.pieces[0][:300]!r}'
    if status not in request.allowed:
        return f'FAILED: {status}', f'{request.kind}: {status} for {request.pieces[0][:300]!r}: {answer[-300:]!r}'
    outcome = {-1: 'no answer in time', 0: 'connection closed'}.get(status)
    return outcome or ('refused' if status in REFUSED else 'answered'), ''


def upload(server: Server, path: Path, number: int) -> tuple[str, str]:
    """Upload a malicious file as a photo or a network, and use it."""
    status, answer = server.upload(path.name, path.read_bytes())
    if status != 200:
        return 'refused', '' if status in REFUSED else f'malicious files: {status} for {path.name}: {answer[:200]!r}'
    file = {'path': json.loads(answer)[0], 'meta': {'_type': 'gradio.FileData'}}
    session = f'malicious{number}'
    own = path.suffix in ('.pth', '.safetensors')
    given = (file, path.name) if own else ([file], [path.name])
    status, _ = server.join(*given, function='own' if own else 'add', session=session)
    said = events(server, session, b'process_completed', 60)
    if status != 200 or b'process_completed' not in said:
        return 'FAILED: no answer', f'malicious files: {status} for {path.name}: {said[-300:]!r}'
    if b'unexpected error' in said:
        return 'FAILED: unexpected error', f'malicious files: {path.name}: {said[-600:]!r}'
    return 'refused with words', ''


def served(server: Server, photo: Path, session: str) -> bool:
    """Whether a visitor gets a photo deblurred within a minute."""
    server.add(photo, session)
    before = _results(server, photo)
    events(server, session, b'process_completed', 30)
    server.join(*SETTINGS, session=session)
    end = time.monotonic() + 60
    while _results(server, photo) <= before and time.monotonic() < end:
        time.sleep(0.1)
    return _results(server, photo) > before and server.ask('GET', '/')[0] == 200


def _results(server: Server, photo: Path) -> int:
    shown = next(server.temporary.glob('deblur-page-*/shown'))
    places = os.walk(shown)  # folders may vanish meanwhile
    return sum(f'{photo.stem}_deblurred.png' in names for place, _, names in places if '.part' not in place)


def events(server: Server, session: str, wanted: bytes, seconds: float) -> bytes:
    """What the page sends to a visitor until something comes, or the time is over."""
    place = urlsplit(server.address)
    said, end = b'', time.monotonic() + seconds
    with socket.create_connection((str(place.hostname), int(place.port or 0)), 10) as connection:
        connection.sendall(f'GET {API}/queue/data?session_hash={session} HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode())
        connection.settimeout(1)
        while wanted not in said and time.monotonic() < end:
            try:
                part = connection.recv(1 << 16)
            except TimeoutError:
                continue
            if not part:
                break
            said += part
    return said


def memory(process: int) -> int:
    """MiB of a process and those that it started."""
    total, waiting = 0, [process]
    while waiting:
        one = waiting.pop()
        try:
            lines = Path(f'/proc/{one}/status').read_text().splitlines()
            waiting += map(int, Path(f'/proc/{one}/task/{one}/children').read_text().split())
        except OSError:
            continue
        total += next((int(line.split()[1]) for line in lines if line.startswith(('RssAnon:',))), 0)
    return total // 1024


def raising(work: Path, arguments: tuple[object, ...], photo: Path, rounds: int) -> Tally:
    """Photos for which the network raises or ends its process, each followed by one that must be deblurred."""
    tally = Tally('A network that raises', 'the photo fails with words, the next one is deblurred')
    with running(work / 'q', *arguments, by=BY) as server:  # type: ignore[arg-type]
        for name in [*ERRORS, 'vanish'] * rounds:
            session = f'{name}{tally.trials}'
            bad = work / 'page' / f'{name}_{tally.trials}.png'
            bad.write_bytes(photo.read_bytes())
            server.add(bad, session)
            events(server, session, b'process_completed', 30)
            server.join(*SETTINGS, session=session)
            server.join(function='watch', session=session)
            said = events(server, session, b'failed', 60)
            words = b'failed' in said
            after = served(server, photo, f'next{tally.trials}')
            problem = '' if words and after else f'{name}: words {words}, the next one {after}: {said[-500:]!r}'
            tally.add(name, 'failed with words' if words else 'FAILED: no words', problem)
        server.end()
    return tally
