"""Properties are checked without a time limit per example: a busy machine is no error."""

import hypothesis

hypothesis.settings.register_profile("labels", deadline=None, max_examples=60)
hypothesis.settings.load_profile("labels")
