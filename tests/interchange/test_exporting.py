"""Exported programs: equal to PyTorch at any size, with any regions, and what they say about themselves."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from basicsr.archs.local_pool import LocalAvgPool2d
from basicsr.archs.map_unit import MaskAveragePooling
from basicsr.interchange import exporting, onnx_opset, program_files
from basicsr.utils.errors import ArgumentError, BasicsrError, WeightsError
from basicsr.weights.files import save_weights
from tests.helpers.project import ROOT, Script, require
from tests.helpers.small_networks import small
from tests.helpers.tiny_pairs import TINY_ANALYSIS, TINY_SYNTHESIS

WRITE: dict[str, Any] = {'onnx': program_files.write_onnx, 'pt2': program_files.write_pt2}
READ: dict[str, Any] = {'onnx': program_files.read_onnx, 'pt2': program_files.read_pt2}
GROUPS = {'base_channel': 4, 'num_heads': [1] * 8, 'depths': [2, 0, 0, 1, 0, 0, 0, 2]}
TINY = {'width': 4, 'enc_blk_nums': [1], 'dec_blk_nums': [1], 'middle_blk_num': 0}
# networks and arguments; the windows of the local ones are smaller than most of the sizes, and larger than some
EXPORTED: list[tuple[str, dict[str, Any]]] = [
    ('NAFNet', TINY),
    ('NAFNetLocal', {**TINY, 'train_size': [1, 3, 80, 32]}),
    ('SegNAFNet', {**TINY, 'seg_channel': 2, 'mask_value': 1 / 255}),
    ('SAMDeblur', {'backbone': {'type': 'PlainUNet', 'width': 2}}),
    ('SAMDeblur', {'backbone': {'type': 'PlainUNet', 'width': 2}, 'prior_features': 'energies'}),
    ('PhotoUNet', {'width': 4, 'blocks': [1, 1, 1]}),
    ('LaKDNet', {'num_blocks': [1, 0, 1, 0], 'LayerNorm_type': 'BiasFree'}),
    ('RSST', {**GROUPS, 'win_size': [2, 4], 'trans_type': 'rsst'}),
    (
        'SAMDeblur',
        {'backbone': {'type': 'RSST', **GROUPS, 'win_size': [2, 2], 'token_projection': 'linear_concat'}},
    ),
    ('SynthesisNet', {}),
    (
        'AnalysisSynthesisNet',
        {'analysis': {**TINY_ANALYSIS, 'n_levels': 1}, 'synthesis': {**TINY_SYNTHESIS, 'n_levels': 1}},
    ),
]


def needed(kind: str) -> None:
    if kind == 'onnx':
        require('onnx', 'onnxruntime', 'onnxscript')


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'arguments'), EXPORTED, ids=lambda value: value if isinstance(value, str) else '')
def test_programs_agree_with_pytorch_at_many_sizes(name, arguments, tmp_path):
    """One program, both formats; odd sizes, multiples, sides of one level's window, and the smallest size."""
    needed('onnx')
    net = small(name, **arguments)
    program = exporting.program_of(net)
    assert program.minimum == tuple(side + 1 for side in net.input_rule.multiple)
    for kind in ('onnx', 'pt2'):
        WRITE[kind](program, tmp_path / f'net.{kind}', exporting.program_metadata(program))
        run, about = READ[kind](tmp_path / f'net.{kind}')
        sizes = (*exporting.COMPARED, (64, 48), (120, 33), (20, 300))
        most = 5e-5 if name == 'RSST' else 1e-5  # its spectra are summed in another order, and its features are large
        assert exporting.largest_difference(program, run, sizes) < most, kind
        assert about['network'] == name and json.loads(about['network_g'])['type'] == name
        assert json.loads(about['value_range']) == list(net.input_rule.value_range) and json.loads(
            about['minimum']
        ) == list(program.minimum)
        assert ('mask_value' in about) == hasattr(net, 'mask_value')
        if 'mask_value' in about:
            assert json.loads(about['mask_value']) == net.mask_value


@pytest.mark.slow
@pytest.mark.parametrize('number', range(len(EXPORTED)), ids=[name for name, _ in EXPORTED])
def test_every_network_in_the_oldest_opset(number, tmp_path):
    """Version 17 is made of what torch writes, version 18; the file says so, and agrees with PyTorch."""
    needed('onnx')
    import onnx

    name, arguments = EXPORTED[number]
    program = exporting.program_of(small(name, **arguments))
    program_files.write_onnx(program, tmp_path / 'net.onnx', {}, 17)
    model = onnx.load(tmp_path / 'net.onnx')
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [('', 17)]
    run, _ = program_files.read_onnx(tmp_path / 'net.onnx')
    most = 5e-5 if name == 'RSST' else 1e-5
    assert exporting.largest_difference(program, run, ((37, 50), (64, 48), (20, 99))) < most


@pytest.mark.slow
@pytest.mark.parametrize('opset', [18, 19, 21, 22])
def test_other_opsets(opset, tmp_path):
    needed('onnx')
    import onnx

    program = exporting.program_of(small('SegNAFNetLocal', **TINY, seg_channel=2, train_size=[1, 3, 16, 32]))
    program_files.write_onnx(program, tmp_path / 'net.onnx', {}, opset)
    model = onnx.load(tmp_path / 'net.onnx')
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [('', opset)]
    assert exporting.largest_difference(program, program_files.read_onnx(tmp_path / 'net.onnx')[0], ((37, 50),)) < 1e-5


@pytest.mark.slow
def test_files_say_nothing_of_the_machine_that_wrote_them(tmp_path):
    needed('onnx')
    import onnx

    path = tmp_path / 'net.onnx'
    program_files.write_onnx(exporting.program_of(small('PlainUNet')), path, {'network': 'x'})
    model = onnx.load(path)
    assert {entry.key: entry.value for entry in model.metadata_props} == {'network': 'x'}
    assert b'.py' not in path.read_bytes() and str(ROOT).encode() not in path.read_bytes()
    assert model.ir_version == onnx.helper.find_min_ir_version_for(list(model.opset_import))


HALVES = [EXPORTED[number] for number in (0, 2, 3)]


@pytest.mark.slow
@pytest.mark.parametrize('opset', [17, 20])
@pytest.mark.parametrize(('name', 'arguments'), HALVES, ids=lambda value: value if isinstance(value, str) else '')
def test_programs_in_float16_agree_with_pytorch_in_float32(name, arguments, opset, tmp_path):
    """Half the bytes of the parameters, inputs and output in float32 all the same."""
    needed('onnx')
    import onnx

    net = small(name, **arguments)
    program = exporting.program_of(net, torch.float16)
    assert all(value.dtype == torch.float32 for value in net.state_dict().values())
    assert json.loads(json.dumps(exporting.program_metadata(program)))['precision'] == 'float16'
    program_files.write_onnx(program, tmp_path / 'net.onnx', {}, opset)
    model = onnx.load(tmp_path / 'net.onnx')
    kinds = {onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type) for value in model.graph.output}
    assert kinds == {'FLOAT'}
    weights = [value for value in model.graph.initializer if value.name.endswith('.weight')]
    assert weights and {value.data_type for value in weights} == {onnx.TensorProto.FLOAT16}
    run, _ = program_files.read_onnx(tmp_path / 'net.onnx')
    difference = exporting.largest_difference(program, run, ((37, 50), (40, 21)))
    assert 1e-5 < difference < exporting.TOLERANCE[torch.float16]  # not float32 in disguise


@pytest.mark.slow
def test_a_program_of_torch_in_float16(tmp_path):
    program = exporting.program_of(small('NAFNet', **TINY), torch.float16)
    program_files.write_pt2(program, tmp_path / 'net.pt2', exporting.program_metadata(program))
    run, about = program_files.read_pt2(tmp_path / 'net.pt2')
    assert about['precision'] == 'float16' and run(torch.rand(1, 3, 20, 21)).dtype == torch.float32
    assert exporting.largest_difference(program, run, ((37, 50),)) < exporting.TOLERANCE[torch.float16]


@pytest.mark.slow
def test_the_newest_opset_is_written_without_the_notes_of_the_exporters(tmp_path, caplog):
    needed('onnx')
    import onnx

    program = exporting.program_of(small('PlainUNet'))
    program_files.write_onnx(program, tmp_path / 'net.onnx', {}, onnx_opset.newest())
    assert onnx_opset.opset_of(onnx.load(tmp_path / 'net.onnx')) == onnx_opset.newest()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def onnx_model(nodes, opset=18, constants=()):
    import onnx
    from onnx import helper

    inputs = [helper.make_tensor_value_info('x', onnx.TensorProto.FLOAT, [2, 4])]
    outputs = [helper.make_tensor_value_info('y', onnx.TensorProto.FLOAT, ['a', 'b'])]
    values = [onnx.numpy_helper.from_array(np.array(value, np.int64), name) for name, value in constants]
    graph = helper.make_graph([helper.make_node(*node, **more) for *node, more in nodes], 'g', inputs, outputs, values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', opset)], ir_version=8)


@pytest.mark.parametrize(
    ('nodes', 'constants'),
    [
        ([('ReduceMean', ['x', 'axes'], ['y'], {})], [('axes', [1])]),
        ([('ReduceMax', ['x'], ['y'], {})], []),
        ([('ReduceMax', ['x'], ['y'], {'noop_with_empty_axes': 1})], []),
        ([('ReduceL2', ['x', 'axes'], ['y'], {'noop_with_empty_axes': 1})], [('axes', [0, 1])]),
        ([('Split', ['x'], ['a', 'b'], {'num_outputs': 2, 'axis': 1}), ('Mul', ['a', 'b'], ['y'], {})], []),
    ],
    ids=['axes', 'all', 'none', 'both', 'split'],
)
def test_operators_of_version_18_in_terms_of_17(nodes, constants):
    """The specification's own evaluation of version 18 is what the runtime makes of version 17."""
    needed('onnx')
    import onnxruntime
    from onnx.reference import ReferenceEvaluator

    x = np.arange(8, dtype=np.float32).reshape(2, 4) ** 2
    model = onnx_model(nodes, constants=constants)
    expected = ReferenceEvaluator(model).run(None, {'x': x})[0]
    onnx_opset.to_opset_17(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
    result = session.run(None, {'x': x})[0]
    assert onnx_opset.opset_of(model) == 17 and len(model.graph.initializer) == 0
    np.testing.assert_allclose(result, expected, rtol=1e-6)


@pytest.mark.parametrize(
    'nodes',
    [
        [('Mish', ['x'], ['y'], {})],
        [('Shape', ['x'], ['s'], {}), ('ReduceMean', ['x', 's'], ['y'], {})],
    ],
    ids=['unknown operator', 'computed axes'],
)
def test_what_opset_17_lacks_is_refused(nodes):
    needed('onnx')
    with pytest.raises(ArgumentError, match=r'opset.*18'):
        onnx_opset.to_opset_17(onnx_model(nodes))


@pytest.mark.slow
def test_regions_of_any_number_and_form(tmp_path):
    """No region, one of all pixels, thousands, large ids, several layers, layers that cover everything."""
    needed('onnx')
    net = small('SegNAFNetLocal', **TINY, seg_channel=2, train_size=[1, 3, 16, 32])
    program = exporting.program_of(net)
    torch.manual_seed(3)
    lq = torch.rand(1, 3, 53, 47)
    single = torch.arange(53 * 47).view(1, 1, 53, 47)
    random = torch.randint(0, 4, (1, 1, 53, 47))
    for kind in ('onnx', 'pt2'):
        WRITE[kind](program, tmp_path / f'net.{kind}', {})
        run, _ = READ[kind](tmp_path / f'net.{kind}')
        for labels in (
            torch.zeros_like(single),
            torch.ones_like(single),
            single,
            single + 1,
            random * 100_000,
            torch.cat([random, torch.where(random > 0, 4 + random, 0)], 1),
            torch.cat([random, torch.zeros_like(random), (random > 1) * 9], 1),
            torch.cat([1 + single, 3000 + random], 1),
        ):
            with torch.no_grad():
                torch.testing.assert_close(run(lq, labels), net(lq, labels), rtol=0, atol=1e-5)


@pytest.mark.parametrize('value', [1.0, 1 / 255, 0.4])
def test_the_form_of_the_unit_that_is_exported(value, monkeypatch):
    """Run as it is, without an exporter, against the form that runs otherwise."""
    torch.manual_seed(0)
    unit, x = MaskAveragePooling(0.5, value).eval(), torch.randn(2, 3, 31, 22)
    first = torch.randint(0, 7, (2, 1, 31, 22))
    second = torch.where(torch.rand(2, 1, 31, 22) < 0.5, 7 + torch.randint(0, 3, (2, 1, 31, 22)), 0)
    for labels in (first, first * 0, torch.cat([first, second], 1), torch.cat([first, second * 0 + 9], 1)):
        expected = unit(x, labels)
        with monkeypatch.context() as patch:
            patch.setattr('basicsr.archs.map_unit.exporting', lambda: True)
            torch.testing.assert_close(unit(x, labels), expected, rtol=0, atol=1e-6)
    with monkeypatch.context() as patch:
        patch.setattr('basicsr.archs.map_unit.exporting', lambda: True)
        with pytest.raises(BasicsrError, match='label map'):
            unit(x, [torch.ones(1, 1, 31, 22)] * 2)


@pytest.mark.parametrize('kernel', [(5, 7), (4, 40), (60, 3), (60, 60), (1, 1), (33, 27)])
def test_the_form_of_local_pooling_that_is_exported(kernel, monkeypatch):
    torch.manual_seed(0)
    pool, x = LocalAvgPool2d(kernel), torch.randn(1, 3, 33, 28)
    expected = pool(x).expand(x.shape)
    monkeypatch.setattr('basicsr.archs.local_pool.exporting', lambda: True)
    torch.testing.assert_close(pool(x), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize('name', ['NAFNet', 'LaKDNet', 'PlainUNet', 'SynthesisNet', 'AnalysisSynthesisNet'])
def test_padding_and_crops_that_are_exported_are_those_that_run(name, monkeypatch):
    net = small(name)
    for size in ((17, 9), (16, 16), (5, 40)):
        inputs = exporting.example_inputs(net, size)
        expected = net(*inputs)
        with monkeypatch.context() as patch:
            patch.setattr('basicsr.archs.input_rule.exporting', lambda: True)
            assert torch.equal(net(*inputs), expected)


@pytest.mark.parametrize('kind', ['rsst', 'LeWin'])
def test_the_form_of_windows_that_is_exported(kind, monkeypatch):
    """Sizes with padding on both axes, on one, and on none; odd ones, and the smallest."""
    window = [2, 2] if kind == 'LeWin' else [2, 4]
    net = small('RSST', **GROUPS, win_size=window, trans_type=kind)
    for size in ((17, 8 * window[1] + 1), (37, 70), (32, 50), (48, 64)):
        lq = exporting.example_inputs(net, size)[0]
        expected = net(lq)[-1]
        with monkeypatch.context() as patch:
            for module in ('input_rule', 'rsst_arch', 'rsst_attention', 'rsst_blocks'):
                patch.setattr(f'basicsr.archs.{module}.exporting', lambda: True)
            torch.testing.assert_close(net(lq)[-1], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ('name', 'arguments', 'message'),
    [
        ('NAFNetLocal', {'fast_imp': True}, 'NAFNetLocal .*fast_imp'),
        ('AnalysisNet', {}, 'AnalysisNet '),
    ],
    ids=str,
)
def test_what_cannot_be_exported_says_why(name, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        exporting.program_of(small(name, **arguments))


@pytest.fixture
def script(monkeypatch, tmp_path) -> Script:
    return Script('export.py', monkeypatch, tmp_path)


@pytest.mark.slow
def test_the_command_writes_compares_and_describes(script, capsys):
    net = small('SegNAFNet', **TINY, mask_value=0.5)
    save_weights('mine.pth', net)
    assert script('--model', 'mine.pth', '--format', 'pt2') == 0
    said = capsys.readouterr().out
    assert 'mine.pt2: SegNAFNet' in said and '3×3 pixels' in said
    assert 'PyTorch at 5 sizes' in said
    run, about = program_files.read_pt2(Path('mine.pt2'))
    assert about['checkpoint'] == 'mine.pth'
    assert about['checkpoint_sha256'] == hashlib.sha256(Path('mine.pth').read_bytes()).hexdigest()
    assert about['mask_value'] == '0.5' and 'licence' in about and 'basicsr-region-deblur' in about['project']
    lq, labels = exporting.example_inputs(net, (21, 34))
    with torch.no_grad():
        torch.testing.assert_close(run(lq, labels), net(lq, labels), rtol=0, atol=1e-5)
    with pytest.raises(BasicsrError, match=r'mine\.pt2'):
        script('--model', 'mine.pth', '--format', 'pt2')


def test_the_command_says_what_differs_from_the_option_file(script):
    save_weights('mine.pth', small('NAFNet', **TINY))
    photos = {'name': 'photos', 'type': 'SingleImageDataset', 'dataroot_lq': 'photos'}
    options = {'name': 'x', 'datasets': {'test': photos}, 'network_g': {'type': 'NAFNet', **TINY, 'width': 6}}
    Path('x.yml').write_text(json.dumps(options))
    with pytest.raises(WeightsError, match=rf'\n  width: {TINY["width"]} .*\b6\b'):
        script('-opt', 'x.yml', '--model', 'mine.pth')


@pytest.mark.slow
def test_the_command_writes_other_opsets_and_float16(script, capsys):
    needed('onnx')
    save_weights('mine.pth', small('NAFNet', **TINY))
    assert script('--model', 'mine.pth', '--opset', '17', '--half') == 0
    assert 'mine.onnx: NAFNet' in (said := capsys.readouterr().out) and 'float16, opset 17' in said
    _, about = program_files.read_onnx(Path('mine.onnx'))
    assert about['precision'] == 'float16'
    for opset in ('16', '99'):
        with pytest.raises(ArgumentError, match=f'opset {opset} .*17 '):
            script('--model', 'mine.pth', '--opset', opset, '--output', 'other.onnx')
    with pytest.raises(SystemExit):
        script('--model', 'mine.pth', '--opset', '17', '--format', 'pt2')
    assert not Path('other.onnx').exists()


def test_a_program_that_differs_is_not_kept(script, monkeypatch):
    save_weights('mine.pth', small('NAFNet', **TINY))
    monkeypatch.setattr(program_files, 'read_pt2', lambda path: (lambda lq: lq * torch.nan, {}))
    with pytest.raises(WeightsError, match='PyTorch by inf'):
        script('--model', 'mine.pth', '--format', 'pt2')
    assert [path.name for path in Path().iterdir()] == ['mine.pth']


def test_bad_input_of_the_command(script, monkeypatch):
    save_weights('mine.pth', small('NAFNet', **TINY))
    torch.save({'params': {'other.weight': torch.ones(2)}}, 'other.pth')
    torch.save({'params': {'a': torch.ones(2)}, 'network_g': {'type': 'NAFNet', 'width': 10**9}}, 'wide.pth')
    Path('taken.onnx').write_text('mine')
    options = str(ROOT / 'options/test/GoPro/NAFNet.yml')
    for arguments, message in (
        (['--model', 'gone.pth'], r'gone\.pth '),
        (['--model', 'other.pth'], r'other\.pth: .*other\.weight'),
        (['--model', 'wide.pth'], r'wide\.pth .*NAFNet'),
        (['--model', 'mine.pth', '--ema'], r"mine\.pth .*'params_ema'"),
        (['--model', 'mine.pth', '--output', 'taken.onnx'], r'taken\.onnx'),
        (['--model', 'mine.pth', '-opt', options], r'mine\.pth .*NAFNetLocal'),
        (['-opt', str(ROOT / 'options/train/GoPro/NAFNet.yml')], r'NAFNet\.yml .*--model'),
    ):
        with pytest.raises(BasicsrError, match=message):
            script(*arguments)
    assert Path('taken.onnx').read_text() == 'mine'
    with pytest.raises(SystemExit):
        script('--format', 'onnx')
    monkeypatch.setitem(sys.modules, 'onnx', None)
    with pytest.raises(BasicsrError, match=r'onnx.*pip install'):
        script('--model', 'mine.pth')
    assert not Path('mine.onnx').exists()


def test_files_that_are_no_programs(tmp_path):
    (tmp_path / 'x.pt2').write_text('no program')
    with pytest.raises(WeightsError, match=r'x\.pt2: .*torch\.export'):
        program_files.read_pt2(tmp_path / 'x.pt2')
    require('onnxruntime')
    (tmp_path / 'x.onnx').write_text('no program')
    with pytest.raises(WeightsError, match=r'x\.onnx: .*onnxruntime'):
        program_files.read_onnx(tmp_path / 'x.onnx')
