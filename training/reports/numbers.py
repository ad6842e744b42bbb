"""Numbers as people read them."""

from __future__ import annotations


def decimals(value: float) -> str:
    """Four decimals, as of accuracies; errors in physical units may need more, or less."""
    if 0 < abs(value) < 0.01:
        return f"{value:.3g}"
    return f"{value:.4f}" if abs(value) < 10_000 else f"{value:.1f}"


def chance(p_value: float | None) -> str:
    """Of a test; empty: there was none."""
    if p_value is None:
        return ""
    return f"{p_value:.3f}" if p_value >= 0.001 else "< 0.001"
