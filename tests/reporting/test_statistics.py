"""Tests, corrections and means over seeds, on cases worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from basicsr.reporting import bootstrap_interval, holm, scene_estimate, sign_flip_p_value
from basicsr.utils.errors import ReportError


def test_all_signs_of_few_values_are_counted():
    assert sign_flip_p_value([1.0, 2.0]) == 2 / 4  # sums 3, 1, -1, -3: two of four are at least as far
    assert sign_flip_p_value([1.0, 2.0, 4.0]) == 2 / 8
    assert sign_flip_p_value([1.0, -1.0]) == 1.0
    assert sign_flip_p_value([0.1, 0.2, 0.3, -0.1]) == 6 / 16  # ±0.7, and ±0.5 in two ways each


def test_random_signs_agree_with_scipy_and_with_all_of_them(monkeypatch):
    values = np.random.default_rng(0).normal(0.3, 1, 16)
    exact = sign_flip_p_value(values)
    monkeypatch.setattr('basicsr.reporting.statistics._EXACT', 1)
    assert sign_flip_p_value(values) == pytest.approx(exact, abs=0.005)
    assert sign_flip_p_value(values, seed=1) != sign_flip_p_value(values, seed=2)
    found = scipy.stats.permutation_test(
        (values,), np.mean, permutation_type='samples', n_resamples=np.inf, alternative='two-sided'
    )
    assert exact == pytest.approx(found.pvalue, abs=1e-9)
    assert sign_flip_p_value(np.full(60, 0.1), resamples=1000) == 1 / 1001


def test_p_values_of_no_difference_are_uniform():
    rng = np.random.default_rng(3)
    p_values = [sign_flip_p_value(rng.normal(0, 1, 12), seed=0) for _ in range(300)]
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.03)


def test_holm_by_hand():
    given = {'a': 0.01, 'b': 0.04, 'c': 0.03, 'd': 0.005}
    assert holm(given) == pytest.approx({'a': 0.03, 'b': 0.06, 'c': 0.06, 'd': 0.02})  # b: not below c's
    assert list(holm(given)) == ['a', 'b', 'c', 'd']
    assert holm({'one': 0.2}) == {'one': 0.2} and holm({}) == {}
    assert holm({'a': 0.6, 'b': 0.7}) == {'a': 1.0, 'b': 1.0}
    with pytest.raises(ReportError, match=r'1\.5'):
        holm({'a': 1.5})


def test_means_over_seeds_and_scenes():
    table = [[0.0, 0.2, 0.4], [0.2, 0.4, 0.6]]
    found = scene_estimate(table)
    assert found.mean == pytest.approx(0.3) and found.by_seed == pytest.approx((0.2, 0.4))
    assert found.spread == pytest.approx(math.sqrt(0.02))
    assert (found.low, found.high) == pytest.approx(bootstrap_interval([0.1, 0.3, 0.5]))
    assert found.p_value == sign_flip_p_value([0.1, 0.3, 0.5]) == 2 / 8 and found.scenes == 3
    assert math.isnan(scene_estimate([[0.1, 0.2]]).spread)


def test_seeds_that_cancel_leave_no_interval_but_a_spread():
    found = scene_estimate([[0.5, 0.5], [-0.5, -0.5]])
    assert (found.mean, found.low, found.high) == (0, 0, 0)
    assert found.spread == pytest.approx(math.sqrt(0.5))


@pytest.mark.parametrize('wrong', [[], [1.0, math.nan]])
def test_what_cannot_be_tested(wrong):
    with pytest.raises(ReportError):
        sign_flip_p_value(wrong)
    with pytest.raises(ReportError):
        scene_estimate(wrong)
