"""Numbers in what the command prints."""

import pytest

from voxelmill.engine.words import counted, figure


def test_one_is_singular():
    assert [counted(n, "label map") for n in (0, 1, 2000)] == [
        "0 label maps",
        "1 label map",
        "2,000 label maps",
    ]


@pytest.mark.parametrize(
    ("rate", "told"),
    [(0.21, "0.2"), (1.0, "1.0"), (9.94, "9.9"), (9.96, "10"), (40.4, "40"), (1234.0, "1,234")],
)
def test_slow_rates_have_a_decimal(rate, told):
    assert figure(rate) == told
