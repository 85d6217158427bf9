"""How many examples a property test tries: few in ``make test``, very many in the thorough profile.

``HYPOTHESIS_PROFILE=thorough pytest tests/registry`` runs it; tests marked ``thorough`` are left out elsewhere.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much, HealthCheck.large_base_example]
settings.register_profile("ci", max_examples=25, deadline=None, suppress_health_check=QUIET, derandomize=True)
settings.register_profile("thorough", max_examples=1000, deadline=None, suppress_health_check=QUIET, print_blob=True)


def load() -> None:
    """Use the profile that the environment names."""
    settings.load_profile("thorough" if THOROUGH else "ci")


def examples(ci: int, thorough: int = 1000) -> int:
    """The number of examples for a test that needs another number than its profile's."""
    return thorough if THOROUGH else ci
