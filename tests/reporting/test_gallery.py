"""The gallery as a file: what it holds, what it may load, and that it travels with the package."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

from basicsr.images.files import imread
from basicsr.reporting import KeptImages, RowWriter, compare_runs, join, write_gallery, write_runs_page
from basicsr.utils.errors import ReportError
from tests.helpers.project import ROOT, absent
from tests.helpers.reports import DEFINITIONS, FACTS, add, evaluate, report

INJECTION = '</script><script>document.title="hacked"</script><img src=x onerror=alert(1)>"\' &lt; #%$data ${x}'


class Page(HTMLParser):
    """Tags with attributes, and the text of scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ''
        self._script = False
        self.source = path.read_text(encoding='utf-8')
        self.feed(self.source)
        self.data = json.loads(self.scripts[0])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._script = tag == 'script'
        if self._script:
            self.scripts.append('')

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        if self._script:
            self.scripts[-1] += data
        else:
            self.text += data


def links(page: Page) -> list[str]:
    rows = [row for one in page.data['sets'] for row in one['rows']]
    return [url for row in rows for run in row['runs'] for url in run['images'].values()]


def test_every_picture_is_a_file_beside_the_page(tmp_path):
    page = Page(write_gallery(tmp_path, [evaluate(tmp_path, [1.0, -5.0], names=['a b#1', 'ü%'])]))
    assert len(links(page)) == 2 * 8
    for link in links(page):
        assert not urlsplit(link).scheme
        assert (tmp_path / unquote(urlsplit(link).path)).is_file()


def test_a_kernel_is_one_more_picture(tmp_path):
    kernel = np.zeros((5, 7), np.float32)
    kernel[2, 3], kernel[2, 4] = 0.75, 0.25
    with RowWriter(tmp_path, 'GoPro', DEFINITIONS, 1, KeptImages()) as rows:
        row = add(rows, 0, 'a', kernel=kernel)
    shown = imread(tmp_path / row.images['kernel'], channels=1)[..., 0]
    assert shown.shape == (20, 28) and shown[8, 12] == 255 and shown[8, 16] == 85 and shown[0, 0] == 0
    write_gallery(tmp_path, [join(tmp_path, FACTS, 'GoPro', DEFINITIONS, 1, KeptImages(), 1)])
    page = (tmp_path / 'gallery.html').read_text()
    assert row.images['kernel'].split('/')[-1] in page and '<figure id="kernel" hidden>' in page


def test_addresses_are_encoded_whatever_the_file_is_called(tmp_path):
    done = report([30.0])
    done = replace(done, rows=(replace(done.rows[0], images={'output': 'p/a #1 50%.png', 'input': 'javascript:x'}),))
    assert links(Page(write_gallery(tmp_path, [done]))) == ['p/a%20%231%2050%25.png', 'javascript%3Ax']


def test_record_of_runs_in_folders_with_odd_names_are_found(tmp_path):
    folders = tmp_path / 'a #1 %41', tmp_path / 'sub' / 'ü?'
    reports = [evaluate(folder, [1.0, 2.0], replace(FACTS, run=folder.name)) for folder in folders]
    target = tmp_path / 'pages' / 'both.html'
    page = Page(write_runs_page(target, folders, compare_runs([reports])))
    assert len(links(page)) == 2 * 2 * 8
    for link in links(page):
        assert set(link).isdisjoint(' #?')
        assert (target.parent / unquote(link)).is_file()


def test_the_page_loads_nothing_and_runs_its_own_script_alone(tmp_path):
    page = Page(write_gallery(tmp_path, [evaluate(tmp_path, [1.0])]))
    assert not [
        tag for tag, attributes in page.tags if 'src' in attributes or tag in ('link', 'iframe', 'object', 'base')
    ]
    assert {attributes['href'] for _, attributes in page.tags if 'href' in attributes} == {'#images'}
    assert not re.search(r'https?://', page.source)
    policy = next(a['content'] for tag, a in page.tags if tag == 'meta' and 'http-equiv' in a)
    assert policy.startswith("default-src 'none'")
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith('on')]


def test_names_from_outside_never_become_markup(tmp_path):
    nasty = replace(FACTS, run=INJECTION, network=INJECTION, options=INJECTION, device=INJECTION)
    done = replace(
        evaluate(tmp_path, [1.0], nasty, names=[INJECTION]), dataset=INJECTION, skipped={INJECTION: INJECTION}
    )
    usual = evaluate(tmp_path, [1.0])
    for pages in (
        [Page(write_gallery(tmp_path, [one])) for one in (done, usual)],
        [
            Page(write_runs_page(tmp_path / 'both.html', [tmp_path] * 2, compare_runs([[one, one]])))
            for one in (done, usual)
        ],
    ):
        page, plain = pages
        assert {tag for tag, _ in page.tags} == {tag for tag, _ in plain.tags}
        assert len(page.scripts) == 2
        assert page.scripts[1] == plain.scripts[1]
        assert page.data['sets'][0]['rows'][0]['name'] == INJECTION
        assert INJECTION in page.text
        assert not re.search('[<>&\u2028\u2029]', page.scripts[0])


def test_line_separators_and_infinite_scores_are_data(tmp_path):
    done = report([30.0, float('inf')])
    done = replace(done, rows=(replace(done.rows[0], name='a\u2028b\u2029'), done.rows[1]))
    page = Page(write_gallery(tmp_path, [done]))
    assert '\u2028' not in page.source
    rows = page.data['sets'][0]['rows']
    assert rows[0]['name'] == 'a\u2028b\u2029'
    assert rows[1]['runs'][0]['scores']['psnr'] == 'inf'


def test_a_page_without_script_still_has_the_summary(tmp_path):
    done = report([30.0, 20.0])
    page = Page(write_gallery(tmp_path, [done, replace(done, dataset='REDS')], {'REDS': {'psnr': 26.93}}))
    for part in ('blurred input', 'run a', '50.00 (1 of 2)', 'REDS', '26.93', 'image1', 'SSIM 3-D', 'ab' * 32, 'a.pth'):
        assert part in page.text, part
    assert any(tag == 'noscript' for tag, _ in page.tags)


def test_hundreds_of_collapsed_names_are_folded(tmp_path):
    few = Page(write_gallery(tmp_path, [report([20.0] * 3)]))
    many = Page(write_gallery(tmp_path, [report([20.0] * 300)]))
    assert 'image299' in many.text
    assert [sum(tag == 'details' for tag, _ in page.tags) for page in (few, many)] == [2, 3]


def test_a_comparison_has_differences_and_both_checkpoints(tmp_path):
    other = replace(FACTS, run='run b', network='NetB', checkpoint='b.pth')
    both = compare_runs([[report([30.0, 20.0, 28.0]), report([31.0, 26.0, 28.5], other)]])
    page = Page(write_runs_page(tmp_path / 'x.html', [tmp_path] * 2, both))
    for part in ('run b against run a', '+2.500', '95 % interval', '3 : 0', 'a.pth', 'b.pth', 'BCa'):
        assert part in page.text, part
    assert page.data['sets'][0]['runs'] == ['run a', 'run b']


def test_a_gallery_needs_reports(tmp_path):
    with pytest.raises(ReportError):
        write_gallery(tmp_path, [])
    with pytest.raises(ReportError):
        write_runs_page(tmp_path / 'x.html', [tmp_path] * 2, [])


def test_an_older_page_survives_a_full_disk(tmp_path, monkeypatch):
    path = write_gallery(tmp_path, [report([30.0])])
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('basicsr.utils.files.os.fsync', full)
    with pytest.raises(OSError, match='No space left'):
        write_gallery(tmp_path, [report([31.0])])
    assert [path.read_bytes()] == [before]
    assert list(tmp_path.iterdir()) == [path]


def test_a_thousand_images_stay_a_small_page(tmp_path):
    done = report([25.0 + index / 100 for index in range(1000)])
    assert write_gallery(tmp_path, [done]).stat().st_size < 500_000


def test_the_page_travels_with_the_package(tmp_path):
    """A built wheel holds every file of the page."""
    try:
        found = importlib.metadata.version('setuptools')
    except importlib.metadata.PackageNotFoundError:
        found = '0'
    if int(found.split('.')[0]) < 77:
        absent('setuptools 77 or newer is not installed')
    for name in ('pyproject.toml', 'setup.py', 'README.md', 'LICENSE', 'requirements.txt', 'basicsr_commands.py'):
        shutil.copy(ROOT / name, tmp_path)
    for name in ('basicsr', 'options', 'experiments/pretrained_models'):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns('__pycache__'))
    code = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    done = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / 'dist').glob('*.whl')
    files = {path.name for path in (ROOT / 'basicsr/reporting/page').iterdir()}
    assert {'gallery.html', 'gallery.css', 'gallery.js', 'viewer.js'} <= files
    assert {f'basicsr/reporting/page/{name}' for name in files} <= set(zipfile.ZipFile(wheel).namelist())
