"""``python -m tinygrad_rnn``: the command line."""

from __future__ import annotations

import sys

from .train.cli import entry

sys.exit(entry())
