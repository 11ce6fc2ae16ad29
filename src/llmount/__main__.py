"""`python -m llmount`, the same as `llmount`."""

import sys

from .cli import main

sys.exit(main())
