"""``python -m tinygrad_rnn.bench.gpu``."""

import sys

from .program import main

sys.exit(main())
