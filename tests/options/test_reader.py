"""YAML text to values with positions, includes and overrides."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from basicsr.options.includes import read_file
from basicsr.options.overrides import apply_overrides
from basicsr.options.reader import read_text
from basicsr.utils.errors import OptionError
from tests.helpers.problems import unexpected


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding='utf-8')
    return path


def failure(text: str | bytes) -> list[str]:
    with pytest.raises(OptionError) as caught:
        read_text(text, 'x.yml')
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('1e-4', 1e-4),
        ('1E4', 1e4),
        ('-2e+3', -2000.0),
        ('1.e-3', 1e-3),
        ('.5', 0.5),
        ('-.5', -0.5),
        ('+.5e1', 5.0),
        ('!!float 1e-3', 1e-3),
        ('!!float 2', 2.0),
        ('1_000', 1000),
        ('5', 5),
        ('1e', '1e'),
        ('e5', 'e5'),
        ('v1e5', 'v1e5'),
        ("'1e-4'", '1e-4'),
        ('2024-01-02', '2024-01-02'),
        ('2024-01-02 10:00:00', '2024-01-02 10:00:00'),
        ('~', None),
        ('~/data', '~/data'),
        ('yes', True),
        ('[1, 2e-3, a]', [1, 2e-3, 'a']),
    ],
)
def test_scalars(text: str, value: object) -> None:
    read = read_text(f'key: {text}', 'x.yml').plain()['key']
    assert read == value
    assert type(read) is type(value)


def test_positions_are_those_of_the_keys() -> None:
    tree = read_text('a:\n  b: 1\n  c:\n    - x\n    - {d: 2}\n', 'x.yml')
    assert [tree.locate(key).line for key in (('a',), ('a', 'b'), ('a', 'c'), ('a', 'c', 1), ('a', 'c', 1, 'd'))] == [
        1,
        2,
        3,
        5,
        5,
    ]
    assert str(tree.locate(('a', 'missing', 'deep'))) == 'x.yml:1'


def test_anchors_and_merge_keys() -> None:
    text = 'base: &base {x: 1, y: 2}\nother: &other {y: 3, z: 4}\n'
    text += 'a:\n  <<: [*base, *other]\n  x: 9\nb: *base\nc: {<<: *base}\n'
    tree = read_text(text, 'x.yml')
    assert tree.plain()['a'] == {'x': 9, 'y': 2, 'z': 4}
    assert tree.plain()['b'] == tree.plain()['c'] == {'x': 1, 'y': 2}
    assert tree.locate(('a', 'z')).line == 2
    assert tree.locate(('a', 'x')).line == 5
    assert not unexpected(failure('a:\n  <<: 5'), [r"x\.yml:2: '<<' .*mapping"])


def test_every_fault_of_the_text_at_once() -> None:
    text = 'a: 1\nb:\n  c: 1\n  d: !!python/name:os.system\n  c: 2\n'
    text += 'a: 2\n1e5: 3\ne: !!int x\nf: .nan\n'
    patterns = [
        r'x\.yml:4: .*!!python/name:os\.system.*null',
        r"x\.yml:5: .*'c'.*3",
        r"x\.yml:6: .*'a'.*1",
        r"x\.yml:7: .*'1e5'.*float",
        r"x\.yml:8: .*'x'.*int",
        r"x\.yml:9: .*'\.nan'.*float",
    ]
    assert not unexpected(failure(text), patterns)


@pytest.mark.parametrize(
    'text', ['a: !!python/object/apply:os.system [ls]', 'a: !!set {x}', 'a: !!binary aGk=', 'a: !mine 3', '!x {a: 1}']
)
def test_tags_are_refused(text: str) -> None:
    assert failure(text)[0].startswith('x.yml:1: ')


def test_bad_text() -> None:
    assert failure('a: 1\nb: [1, 2\nc: 3\n')[0].startswith('x.yml:3: ')
    assert failure('a: b: c')[0].startswith('x.yml:1: ')
    assert failure('a: 1\n---\nb: 2')[0].startswith('x.yml:2: ')
    assert failure('a: 1\nb: \x07')[0].startswith('x.yml:2: ')
    assert failure('a: *nobody')[0].startswith('x.yml:1: ')
    assert failure('a: 1\n\tb: 2')[0].startswith('x.yml:2: ')
    assert not unexpected(failure('name: x\nb: é'.encode('latin-1')), [r'x\.yml:2: .*UTF-8.*\b11\b'])
    assert failure('a: ' + '[' * 5000)[0].startswith('x.yml: ')
    assert read_text('name: é\r\n'.encode('utf-8-sig'), 'x.yml').plain() == {'name': 'é'}


def test_alias_bombs_are_refused() -> None:
    lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x]']
    lines += [f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 9)}]' for i in range(1, 10)]
    assert '100000' in failure('\n'.join(lines))[0]
    merges = ['a0: &a0 {x: [1, 2, 3, 4]}']
    merges += [f'a{i}: &a{i} {{<<: [{", ".join([f"*a{i - 1}"] * 9)}]}}' for i in range(1, 10)]
    assert '100000' in failure('\n'.join(merges))[0]
    assert not unexpected(failure('a: &a\n  b: *a'), [r'x\.yml:1: .*anchor'])


@pytest.mark.parametrize(
    ('text', 'what'),
    [
        ('', 'empty'),
        ('# nothing\n', 'empty'),
        ('- a\n', r'\blist\b'),
        ('a', r'\bstr\b'),
    ],
)
def test_top_level_must_be_a_mapping(tmp_path: Path, text: str, what: str) -> None:
    path = write(tmp_path / 'x.yml', text)
    with pytest.raises(OptionError, match=what) as caught:
        read_file(path)
    assert str(caught.value).startswith(f'{path}:1: ')


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=f'{tmp_path}/none.yml: '):
        read_file(tmp_path / 'none.yml')
    with pytest.raises(OptionError, match=f'{tmp_path}: '):
        read_file(tmp_path)
    path = write(tmp_path / 'x.yml', 'a: 1\n_base_:\n  - one.yml\n  - sub/../two.yml\n  - 5\n')
    with pytest.raises(OptionError, match=r'x.yml:5: _base_: .*5'):
        read_file(path)
    write(path, 'a: 1\n_base_:\n  - one.yml\n  - sub/../two.yml\n')
    with pytest.raises(OptionError) as caught:
        read_file(path)
    patterns = [rf'{path}:3: _base_: .*{tmp_path}/one\.yml', rf'{path}:4: _base_: .*{tmp_path}/two\.yml']
    assert not unexpected(caught.value.problems, patterns)


def test_includes(tmp_path: Path) -> None:
    write(tmp_path / 'base' / 'root.yml', 'a: {x: 1, y: 1}\nlist: [1, 2, 3]\nkeep: root\n')
    write(tmp_path / 'base' / 'one.yml', '_base_: root.yml\na: {y: 2}\nb: one\nwhole: {type: P, width: 3}\n')
    write(tmp_path / 'base' / 'two.yml', 'b: two\nc: two\n')
    text = '_base_: [base/one.yml, base/two.yml]\nc: own\nlist: [9]\na:\n  z: 3\nwhole:\n  _delete_: true\n  type: Q\n'
    tree = read_file(write(tmp_path / 'x.yml', text))
    assert tree.plain() == {
        'a': {'x': 1, 'y': 2, 'z': 3},
        'list': [9],
        'keep': 'root',
        'b': 'two',
        'whole': {'type': 'Q'},
        'c': 'own',
    }
    places = {
        '.'.join(key): str(tree.locate(key)) for key in (('a', 'x'), ('a', 'y'), ('a', 'z'), ('b',), ('c',), ('list',))
    }
    assert {key: place.replace(f'{tmp_path}/', '') for key, place in places.items()} == {
        'a.x': 'base/root.yml:1',
        'a.y': 'base/one.yml:2',
        'a.z': 'x.yml:5',
        'b': 'base/two.yml:1',
        'c': 'x.yml:2',
        'list': 'x.yml:3',
    }


def test_delete_without_a_base_and_with_another_value(tmp_path: Path) -> None:
    assert read_file(write(tmp_path / 'x.yml', 'a: {_delete_: true, b: {_delete_: false, c: 1}}')).plain() == {
        'a': {'b': {'c': 1}}
    }
    with pytest.raises(OptionError, match=r'x.yml:2: _delete_: .*true.*1'):
        read_file(write(tmp_path / 'x.yml', 'a:\n  _delete_: 1\n'))


def test_include_cycles_print_the_chain(tmp_path: Path) -> None:
    write(tmp_path / 'a.yml', '_base_: b.yml\n')
    write(tmp_path / 'b.yml', '_base_: [c.yml]\n')
    write(tmp_path / 'c.yml', '_base_: ./b.yml\n')
    with pytest.raises(OptionError) as caught:
        read_file(tmp_path / 'a.yml')
    chain = ' -> '.join(str(tmp_path / f'{name}.yml') for name in 'abcb')
    assert not unexpected(caught.value.problems, [rf'{tmp_path}/c\.yml: _base_ .*{chain}$'])


def test_faults_of_all_included_files_are_reported(tmp_path: Path) -> None:
    write(tmp_path / 'one.yml', 'a: 1\na: 2\n')
    write(tmp_path / 'two.yml', 'x: [\n')
    path = write(tmp_path / 'x.yml', '_base_: [one.yml, two.yml, one.yml]\n')
    with pytest.raises(OptionError) as caught:
        read_file(path)
    assert [problem.split(': ')[0] for problem in caught.value.problems] == [
        f'{tmp_path}/one.yml:2',
        f'{tmp_path}/two.yml:2',
    ]


def test_many_small_includes_are_read_once_each(tmp_path: Path) -> None:
    write(tmp_path / '0.yml', 'a: 1\n')
    for i in range(1, 40):
        write(tmp_path / f'{i}.yml', f'_base_: [{i - 1}.yml, {i - 1}.yml]\n')
    assert read_file(tmp_path / '39.yml').plain() == {'a': 1}


def test_overrides() -> None:
    tree = read_text('a:\n  b: 1\n  c: null\nlist: [1]\n', 'x.yml')
    new, problems = apply_overrides(
        tree, ['a:b=1e-4', 'a:c:d=[1, 2]', 'e:f={g: yes}', 'a:b=5e3', 'text=a=b:c', 'none=']
    )
    assert problems == []
    assert new.plain() == {
        'a': {'b': 5e3, 'c': {'d': [1, 2]}},
        'list': [1],
        'e': {'f': {'g': True}},
        'text': 'a=b:c',
        'none': None,
    }
    assert str(new.locate(('a', 'b'))) == "--force_yml 'a:b=5e3'"
    assert str(new.locate(('a',))) == 'x.yml:1'
    assert tree.plain() == {'a': {'b': 1, 'c': None}, 'list': [1]}


@pytest.mark.parametrize(
    ('argument', 'message'),
    [
        ('a:b', "'='.*5e-4"),
        ('a::b=1', "':'.*'='"),
        ('=1', "':'.*'='"),
        ('a.b=1', "'a:b'"),
        ('a:b:c=1', r'a\.b .*1'),
        ('list:0=1', r'list .*list=\[\.\.\.\]'),
        ('a:b={x: 1, x: 2}', "'x'"),
        ('a:b=[1', 'YAML'),
        ('a:b=!!python/name:os.system', r'!!python/name:os\.system'),
    ],
)
def test_overrides_that_cannot_be_used(argument: str, message: str) -> None:
    tree = read_text('a:\n  b: 1\nlist: [1]\n', 'x.yml')
    _, problems = apply_overrides(tree, [argument])
    assert [str(position) for position, _ in problems] == [f"--force_yml '{argument}'"]
    assert re.search(message, problems[0][1])


def test_a_key_given_twice_with_one_value_is_a_notice(caplog) -> None:
    tree = read_text('a: {x: [1, 2]}\nb: 5\na: {x: [1, 2]}\n', 'x.yml')
    assert tree.plain() == {'a': {'x': [1, 2]}, 'b': 5}
    assert re.search(r"x\.yml:3: .*'a'.*\b1\b", caplog.text)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('a: .inf', r"'\.inf'.*float"),
        ('a: 99999999999999999999999', r'\bint\b'),
        ('a: ' + '9' * 5000, r'\bint\b'),
        ('a: "\\ud800"', r'\bstr\b'),
        ('a: ' + '[' * 300 + ']' * 300, 'nested'),
        ('a:\n\tb: 1', 'tabs'),
    ],
)
def test_what_no_option_can_be(text: str, message: str) -> None:
    assert any(re.search(message, problem) for problem in failure(text))
