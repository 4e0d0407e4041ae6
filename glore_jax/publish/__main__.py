"""`python -m glore_jax.publish`."""

import sys

from glore_jax.publish import main

sys.exit(main())
