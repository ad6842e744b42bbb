"""Conformal intervals: the quantile that covers, step by step and target by target."""

from __future__ import annotations

import numpy as np

from training.evaluation.intervals import conformal_half_widths, covered_share


def test_each_step_and_target_has_the_quantile_of_its_own_errors() -> None:
    ranks = np.arange(1, 100, dtype=np.float32)  # 99 errors: the 90th covers 90 % of 100
    errors = np.stack([ranks, -10 * ranks], axis=1)[:, None, :]
    np.testing.assert_array_equal(conformal_half_widths(errors, 0.9), [[90, 900]])


def test_new_errors_of_the_same_kind_are_covered() -> None:
    rng = np.random.default_rng(0)
    scale = np.arange(1, 9).reshape(4, 2)
    calibration, new = (rng.normal(0, scale, (2000, 4, 2)).astype(np.float32) for _ in range(2))
    half_widths = conformal_half_widths(calibration, 0.8)
    assert half_widths is not None
    np.testing.assert_allclose(covered_share(new, half_widths), 0.8, atol=0.02)
    np.testing.assert_allclose(half_widths, 1.2816 * scale, rtol=0.08)


def test_too_few_errors_promise_nothing() -> None:
    errors = np.zeros((8, 1, 1), np.float32)
    assert conformal_half_widths(errors, 0.9) is None
    assert conformal_half_widths(errors, 0.8) is not None
