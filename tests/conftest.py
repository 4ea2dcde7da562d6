"""How many tests run at once."""

import pytest

from hornbook.run.workers import cpu_quota

MOST = 8  # processes of up to 2 GB each


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """As many as the CPUs a container may use, which the plugin itself does not ask for."""
    return min(MOST, cpu_quota())
