"""What the documents tell is true: commands run, files exist, the architecture's imports hold."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from basicsr.archs import build_network
from basicsr.images.files import imwrite
from basicsr.inference.pretrained import DEFAULT, FOLDER, named_weights
from basicsr.options import load_options
from basicsr.preparation.benchmark_sets import SETS
from basicsr.preparation.standin import make_standin
from basicsr.reporting import read_report
from basicsr.weights.files import PUBLISHED_MASK_VALUE, save_weights
from tests.helpers.doc_pages import COMMANDS, PAGES, blocks, commands_of
from tests.helpers.evaluations import write_network, write_pairs
from tests.helpers.project import ROOT, absent, require

NOT_RUN = {  # commands that this test is run by, or that measure for minutes
    'bash scripts/run_tests.sh',
    'bash scripts/quickstart.sh',  # run with few steps by project/test_quickstart.py
    '.venv/bin/python basicsr/app/web.py',  # runs until it is ended; started by app/test_page.py
    'python -m benchmarks',
    'python -m benchmarks --quick',
    'python -m benchmarks --only MAP step',
    'python -m benchmarks --only SAM',
    'python -m benchmarks.photo',
    'python -m tests.torture',  # run by torture/test_torture.py
    'python -m tests.torture --full',
    '.venv/bin/python scripts/make_masks.py --input photos --output masks --generator sam '
    '--checkpoint sam_vit_h_4b8939.pth',
    # run on small runs by reporting/test_comparison.py
    '.venv/bin/python scripts/compare_runs.py results/NAFNet results/SAMDeblur',
    '.venv/bin/python scripts/compare_runs.py results/NAFNet results/MAP results/SAMDeblur '
    '--scores psnr ssim --output results/four.html',
    '.venv/bin/python scripts/compare_runs.py results/NAFNet results/SAMDeblur '
    '--dataset GoPro --output results/both.html',
}


IN_ORDER = [
    'data.md',
    'training.md',
    'evaluation.md',
    'tutorial.md',
    'export.md',
    'train_photos.md',  # by project/test_train_photos.py
    'row_blur.md',
    'train_pair.md',  # by project/test_train_pair.py
]  # pages whose commands build upon each other; they run in a folder of their own


def require_shipped_network():
    if DEFAULT not in named_weights():
        absent(f'{DEFAULT}, which comes with the repository, is not in {FOLDER}')


@pytest.mark.slow
@pytest.mark.parametrize(
    ('page', 'command'),
    [(page, line) for page, line in COMMANDS if page not in IN_ORDER],
    ids=lambda value: str(value)[:60],
)
def test_commands_run(page, command, tmp_path):
    words = shlex.split(command)
    for word in words:
        if re.fullmatch(r'[\w./-]+/[\w.-]+\.(py|sh|yml)', word):
            assert (ROOT / word).is_file(), f'{page}: {word}'
    if command in NOT_RUN:
        module = words[words.index('-m') + 1].replace('.', '/') if '-m' in words else words[1]
        assert any((ROOT / name).is_file() for name in (module, f'{module}.py', f'{module}/__main__.py'))
        return
    if 'basicsr/deblur.py' in words and '--model' not in words:
        require_shipped_network()
    assert words[0] == '.venv/bin/python', f'{page}: commands run in an environment that a newcomer has: {command}'
    environment = {**os.environ, 'PYTHONPATH': ''}
    done = subprocess.run(
        [sys.executable, *words[1:]],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f'{page}: {command}\n{done.stdout}\n{done.stderr}'


def run_in_order(page, folder):
    """The commands of a page, one after the other, in a folder that is all theirs."""
    for name in ('basicsr', 'scripts', 'options', 'docs'):
        (folder / name).symlink_to(ROOT / name)
    commands = commands_of(page)
    for command in commands:
        words = shlex.split(command)
        scripts = [word for word in words if word.endswith('.py')]
        assert words[0] == '.venv/bin/python' and all((folder / script).is_file() for script in scripts)
        benchmark = words[1] == 'scripts/prepare_data.py' and words[2] != 'grr-synth'
        partial = ['--allow-partial'] if benchmark else []
        done = subprocess.run(
            [sys.executable, *words[1:], *partial],
            cwd=folder,
            env={**os.environ, 'PYTHONPATH': ''},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, f'{command}\n{done.stdout}\n{done.stderr}'
    return commands


@pytest.mark.slow
def test_the_commands_of_the_evaluation_page_run(tmp_path):
    write_pairs(tmp_path / 'datasets/REDS/val', ['000_00000000', '000_00000001'])
    for method in ('SAMDeblur', 'NAFNet'):
        block = load_options(ROOT / f'options/test/REDS/{method}.yml').network_g.as_dict()
        write_network(tmp_path / f'experiments/{method}-GoPro/models/net_g_latest.pth', block, residual=0.002)
    assert len(run_in_order('evaluation.md', tmp_path)) == 5
    assert len(read_report(tmp_path / 'results/SAMDeblur-REDS/REDS-val.json').rows) == 2
    rows = read_report(tmp_path / 'results/NAFNet-REDS/REDS-val.json').rows
    assert len(rows) == 2  # the table evaluated it again, on all images
    assert 'no data / 32.83' in (tmp_path / 'results/table1.md').read_text()


@pytest.mark.slow
def test_the_tutorial_leads_from_a_download_to_table_and_gallery(tmp_path):
    assert len(run_in_order('tutorial.md', tmp_path)) == 9
    assert (tmp_path / 'experiments/SAMDeblur-GoPro/models/net_g_latest.pth').is_file()
    assert (tmp_path / 'results/SAMDeblur-REDS/gallery.html').is_file()
    report = read_report(tmp_path / 'results/SAMDeblur-REDS/REDS-val.json')
    assert len(report.rows) == 2 and all(row.scores['psnr'] > 5 for row in report.rows)


@pytest.mark.slow
def test_the_commands_of_the_training_page_run(tmp_path):
    commands = run_in_order('training.md', tmp_path)
    assert len(commands) == 4
    names = sorted(path.name for path in (tmp_path / 'experiments').iterdir())
    assert names == ['docs-resume', 'docs-two_debug', 'small-synthetic_debug', 'small_LaKDNet-synthetic_debug']


@pytest.mark.slow
def test_the_commands_of_the_data_page_run_in_their_order(tmp_path):
    downloads = tmp_path / 'downloads'
    for key, folder, size in (  # what a reader has downloaded: here a few generated pairs, at the places the page names
        ('gopro', 'GOPRO_Large', (64, 96)),
        ('realblur-j', 'RealBlur/J', (64, 96)),
        ('realblur-r', 'RealBlur/R', (64, 96)),
        ('reds', 'REDS', (64, 96)),
        ('reds300', 'REDS_jpeg', (64, 96)),
        ('reloblur', 'ReLoBlur', (359, 538)),
        ('hide', 'HIDE_dataset', (64, 96)),
        ('grr_real', 'GRR_real', (64, 96)),
        ('levin', 'Levin', (255, 255)),
        ('kohler', 'Kohler', (800, 800)),
    ):
        make_standin(SETS[key], downloads / folder, size=size)
    options = load_options(ROOT / 'options' / 'train' / 'GoPro' / 'NAFNet.yml')
    save_weights(downloads / 'NAFNet-GoPro.pth', build_network(options.network_g))
    commands = run_in_order('data.md', tmp_path)
    assert len([line for line in commands if 'prepare_data.py' in line]) == 11
    text = (ROOT / 'docs' / 'data.md').read_text(encoding='utf-8')
    table = text[text.index('| folder in `datasets/GoPro`') :].split('\n\n')[0]
    named = [name for row in table.splitlines()[2:] for name in re.findall(r'`([^`]+)`', row.split('|')[1])]
    assert len(named) == 17
    assert not [name for name in named if not (tmp_path / 'datasets' / 'GoPro' / name).exists()]
    for folder in (
        'RealBlurJ/test',
        'RealBlurR/test',
        'REDS/val',
        'REDS300/val',
        'ReLoBlur/test',
        'HIDE/test',
        'Levin/test',
        'Kohler/test',
    ):
        for name in ('input', 'target', 'grouped_masks', 'input_mask'):
            assert len(list((tmp_path / 'datasets' / folder / name).glob('*.png'))) == 2, f'{folder}/{name}'


@pytest.mark.slow
def test_the_commands_of_the_page_about_row_blur_run(tmp_path):
    rng = np.random.default_rng(0)
    for folder, names, size in (
        ('clips', [f'{number:03}' for number in range(14)], (48, 64)),
        ('photos', ['a'], (340, 150)),
        ('other_photos', ['b'], (330, 260)),
    ):
        (tmp_path / folder).mkdir()
        for name in names:
            imwrite(tmp_path / folder / f'{name}.png', rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    for network in ('RSST_tiny', 'NAFNet_tiny'):
        block = load_options(ROOT / f'options/test/GRR_synth/{network}.yml').network_g
        path = tmp_path / f'experiments/{network}-GRR_synth/models/net_g_latest.pth'
        path.parent.mkdir(parents=True)
        net = build_network(block)
        save_weights(path, net, params_ema=net.state_dict())
    assert len(run_in_order('row_blur.md', tmp_path)) == 7
    settings = [json.loads(path.read_text()) for path in (tmp_path / 'datasets/GRR_synth').glob('*/grr_synth.json')]
    assert [one['exposure']['target'] for one in settings] == ['row_centre'] * 3
    report = read_report(tmp_path / 'results/RSST_tiny-GRR_synth-test/GRR_synth-test.json')
    assert [row.name for row in report.rows] == ['clips/000000', 'clips/000001']
    assert (tmp_path / 'rows.svg').read_text().count('<path') > 5


@pytest.mark.slow
def test_the_commands_and_the_example_of_the_export_page_run(tmp_path):
    require('onnx', 'onnxruntime', 'onnxscript')
    block = {'type': 'SegNAFNet', 'width': 2, 'enc_blk_nums': [1], 'dec_blk_nums': [1]}
    save_weights(tmp_path / 'model.pth', build_network({**block, 'mask_value': PUBLISHED_MASK_VALUE}))
    assert len(run_in_order('export.md', tmp_path)) == 5
    examples = [code for page, code in blocks('python') if page == 'export.md']
    assert len(examples) == 1
    test_python_examples_run('export.md', examples[0], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('page', 'code'),
    [(page, code) for page, code in blocks('python') if page != 'export.md'],  # that needs what its commands make
    ids=lambda value: str(value)[:40],
)
def test_python_examples_run(page, code, tmp_path):
    if 'Deblurrer.load(device' in code:
        require_shipped_network()
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f'{page}:\n{code}\n{done.stderr}'


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r'^```.*?^```', '', page.read_text(encoding='utf-8'), flags=re.S | re.M)
    titles = re.findall(r'^#+ (.+)$', text, re.M)
    return {re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles}


def test_links_lead_somewhere():
    for page in PAGES:
        for target, anchor in re.findall(r'\]\(([^)#\s]*)#?([^)\s]*)\)', page.read_text(encoding='utf-8')):
            if not target.startswith(('http://', 'https://')):
                other = page.parent / target if target else page
                assert other.exists(), f'{page.name}: {target}'
                assert not anchor or anchor in anchors(other), f'{page.name}: {target}#{anchor}'


def rooms() -> dict[str, int]:
    """The line of each room in the drawing of docs/architecture.md, from the lowest, 0, up."""
    drawing = (ROOT / 'docs' / 'architecture.md').read_text(encoding='utf-8').split('```')[1].strip()
    lines = [re.findall(r'^(?:\w+(?: · )?)+', line)[0].split(' · ') for line in drawing.splitlines()]
    return {room: height for height, line in enumerate(reversed(lines)) for room in line}


def modules() -> dict[str, Path]:
    """Every module of the package by its full name."""
    found = {}
    for path in (ROOT / 'basicsr').rglob('*.py'):
        parts = path.relative_to(ROOT).with_suffix('').parts
        found['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
    return found


def imports_of(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of the package that a file imports, at its top or in a function, but for type checkers alone."""
    tree, found = ast.parse(path.read_text(encoding='utf-8')), set()
    unused = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == 'TYPE_CHECKING'
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in unused:
            assert node.level == 0, f'{path}: imports are written in full'
            names = {f'{node.module}.{alias.name}' for alias in node.names}
            found |= {name if name in known else str(node.module) for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & set(known)


def test_imports_run_downwards_only():
    known, lines = modules(), rooms()
    entries = {'basicsr', 'basicsr.train', 'basicsr.test', 'basicsr.deblur', 'basicsr.make_masks'}
    assert {name.split('.')[1] for name in known if name not in entries} == set(lines)
    wrong = []
    for name, path in known.items():
        for other in imports_of(path, known) if name not in entries else ():
            first, second = name.split('.')[1], other.split('.')[1] if '.' in other else ''
            if first != second and not lines.get(second, 99) < lines[first]:
                wrong.append((name, other))
    assert not wrong


def test_no_files_import_each_other_in_a_circle():
    known = modules()
    left = {name: imports_of(path, known) - {name} for name, path in known.items()}
    while free := {name for name, others in left.items() if not others & set(left)}:
        left = {name: others for name, others in left.items() if name not in free}
    assert not left, f'in a circle, or above one: {sorted(left)}'


def test_no_tracked_file_is_large():
    listed = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip('not a git checkout')
    files = [ROOT / name for name in listed.stdout.split('\0') if name]
    assert files
    assert not [path for path in files if path.is_file() and path.stat().st_size > 5 * 2**20]


def test_citation_and_version_agree_with_the_package():
    import basicsr

    assert f'## {basicsr.__version__}' in (ROOT / 'CHANGELOG.md').read_text(encoding='utf-8')
    citation = Path(ROOT / 'CITATION.cff').read_text(encoding='utf-8')
    assert citation.count('    title:') == 4
