"""What the tests of this room share."""

import pytest


@pytest.fixture
def clock():
    """clock() -> seconds, which `clock.now` sets."""

    def now():
        return now.now

    now.now = 0.0
    return now
