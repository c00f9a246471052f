"""Properties that hold for every input, tried on the inputs that hypothesis invents and shrinks."""

from __future__ import annotations

import itertools
import string
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from basicsr.masks.files import encode_label_map, read_masks
from basicsr.masks.gray_coding import gray_from_masks, masks_from_gray
from basicsr.options import load_options
from basicsr.reporting import bootstrap_interval, holm, sign_flip_p_value
from basicsr.reporting.files import file_stem
from basicsr.reporting.tables import Table
from basicsr.utils.errors import BasicsrError
from basicsr.weights.files import read_any_weights
from tests.helpers.project import ROOT

often = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LABELS = arrays.arrays(
    np.int32, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 60_000)
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
OPTIONS = yaml.safe_load((ROOT / 'options/train/Quickstart/NAFNet.yml').read_text())


@often
@given(LABELS)
def test_label_maps_keep_their_labels_in_files(tmp_path, labels):
    (tmp_path / 'masks.png').write_bytes(encode_label_map(labels))
    assert np.array_equal(read_masks(tmp_path / 'masks.png')[0], labels)


@often
@given(LABELS.filter(lambda labels: labels.max() > 0), st.integers(1, 8))
def test_gray_codes_keep_the_regions(labels, count):
    stack = np.stack([labels % (count + 1) == index for index in range(1, count + 1)])
    stack = stack[stack.any((1, 2))]
    if len(stack):
        found = masks_from_gray(gray_from_masks(stack))
        parts = [*stack, *[~stack.any(0)] * bool((~stack.any(0)).any())]  # the uncovered pixels are a part as well
        assert {one.tobytes() for one in found} == {one.tobytes() for one in parts}


@often
@given(st.text(max_size=200))
def test_file_names_never_leave_their_folder(name):
    stem = file_stem(name)
    assert Path(stem).name == stem and not stem.startswith('.') and len(stem) < 80
    assert set(stem) <= set(string.ascii_letters + string.digits + '._-')


@often
@given(st.text(max_size=30), st.text(max_size=30))
def test_cells_stay_inside_their_tables(first, second):
    table = Table(('a', 'b'), ((first, second),))
    assert len(table.markdown().splitlines()) == 3 and len(table.latex().splitlines()) == 7
    cells = table.markdown().splitlines()[2].replace('\\\\', '').replace('\\|', '')
    assert cells.count('|') == 3


@often
@given(st.lists(st.sampled_from(sorted(OPTIONS)), min_size=1, max_size=3), st.data())
def test_option_files_with_any_values_load_or_are_refused(tmp_path, keys, data):
    content = dict(OPTIONS)
    for key in keys:
        block = content[key]
        if isinstance(block, dict) and data.draw(st.booleans()):
            content[key] = {**block, data.draw(st.sampled_from(sorted(block))): data.draw(VALUES)}
        else:
            content[key] = data.draw(VALUES)
    path = tmp_path / 'options.yml'
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding='utf-8')
    try:
        load_options(path, [], 'train')
    except BasicsrError as error:
        assert 'options.yml' in str(error)


@often
@given(st.text(max_size=60))
def test_any_text_as_an_override_is_refused_or_applied(override):
    try:
        load_options(ROOT / 'options/train/Quickstart/NAFNet.yml', [override], 'train')
    except BasicsrError as error:
        assert str(error)


@often
@given(st.binary(max_size=400), st.sampled_from(['net.pth', 'net.safetensors', 'net.ckpt']))
def test_bytes_that_are_no_weights_are_refused_by_name(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BasicsrError, match=name):
        read_any_weights(tmp_path / name)


@often
@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=8))
def test_corrected_p_values_keep_their_order_and_never_fall(p_values):
    found = holm(p_values)
    assert all(p_values[name] <= found[name] <= 1 for name in p_values)
    order = sorted(p_values, key=lambda name: p_values[name])
    assert all(found[a] <= found[b] for a, b in itertools.pairwise(order))


@often
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=10))
def test_tests_and_intervals_mirror_the_sign(values):
    p_value = sign_flip_p_value(values)
    assert 2.0 ** (1 - len(values)) * (1 - 1e-12) <= p_value <= 1
    assert sign_flip_p_value([-value for value in values]) == p_value
    low, high = bootstrap_interval(values, resamples=50)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
