"""`python -m glore_jax.solve`."""

import sys

from glore_jax.solve import main

sys.exit(main())
