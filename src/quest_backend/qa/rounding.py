"""Rounding of what is shown: exact, halves up."""

from fractions import Fraction


def rounded(value: Fraction, places: int) -> float:
    """``value`` with so many decimals, halves up."""
    scale: int = 10**places
    return ((value * scale * 2 + 1) // 2) / scale


def percent(count: int, total: int) -> float:
    """``count`` of ``total`` in percent, two decimals, in 0..100; 0 when there is nothing."""
    if total <= 0:
        return 0.0
    return rounded(Fraction(100 * min(max(count, 0), total), total), 2)
