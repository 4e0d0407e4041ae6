"""`python -m glore_jax.status`."""

import sys

from glore_jax.status import main

sys.exit(main())
