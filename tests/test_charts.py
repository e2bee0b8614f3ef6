"""Line charts: round ticks, gaps, long curves."""

import re

import numpy as np
import pytest
from results import NAN

from ganimation_jax.reports import charts

# Charts


@pytest.mark.parametrize(
    ("low", "high", "want"),
    [
        (0, 1, [0, 0.25, 0.5, 0.75, 1]),
        (3, 3, [1, 2, 3, 4, 5]),
        (-0.2, 1e4, [-2500, 0, 2500, 5000, 7500, 10000]),
        (0, 0, [-0.001, -0.0005, 0, 0.0005, 0.001]),
    ],
)
def test_ticks_are_round_and_enclose(low, high, want):
    assert charts.ticks(low, high, about=4) == want


def test_lines_are_where_they_should_be_and_stop_at_gaps():
    line = charts.Line(np.array([0, 0.5, 0.75, 1]), np.array([0, NAN, 0.5, 1]))
    drawn = charts.chart([line], (244, 126), (0, 1), (0, 1))
    assert 'd="M34.0 108.0M184.0 58.0L234.0 8.0"' in drawn  # 200 x 100 pixels of area


def test_long_curves_are_thinned_to_means():
    x = np.arange(3000.0)
    drawn = charts.chart([charts.Line(x, x % 2)], (200, 100))
    path = max(re.findall(r' d="([^"]*)"', drawn), key=len)
    heights = {float(point.split()[1]) for point in re.findall(r"[ML]([^ML]*)", path)}
    assert path.count("L") == 299
    assert len(heights) == 1  # ten records each, half 0 and half 1
