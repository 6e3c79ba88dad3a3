"""The book's measurements: stored tables that are read if they are fresh, and computed anew only if asked.

`python -m icl_lib results` measures what is missing or stale.
"""

from icl_lib.experiments import EXPERIMENTS
from icl_lib.results.store import FOLDER, StaleError, audit, one_by_one, read, refresh, stale, told

__all__ = [
    "EXPERIMENTS",
    "FOLDER",
    "StaleError",
    "audit",
    "one_by_one",
    "read",
    "refresh",
    "stale",
    "told",
]
