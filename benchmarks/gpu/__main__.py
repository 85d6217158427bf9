"""``python -m benchmarks.gpu``."""

import sys

from .program import main

sys.exit(main())
