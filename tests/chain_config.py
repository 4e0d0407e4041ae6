"""The quickstart's task for tests: smaller, and of a difficulty that does not change with it."""

from ml_collections import ConfigDict

from configs import tiny

SIZE = dict(train=120, dev=60, test=60, test_templates=60)


def make_config(**changes) -> ConfigDict:
    """The `task` section of a run, with `changes` to its fields."""
    config = tiny.get_config().task
    config.size.update(SIZE)
    config.update(dict(steps=(5, 5), distractors=0.25, shuffle=0.1, branch=0.3) | changes)
    return config
