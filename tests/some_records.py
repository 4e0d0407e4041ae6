"""Records with all their fields, of which a test gives only those that matter to it."""

import types
import typing

from glore_jax import records

_NEUTRAL = {str: "", int: 0, float: 0.0, bool: False}


def full(kind, **fields):
    """A record of type `kind`: the given `fields`, in all others an empty or zero value."""
    hints = typing.get_type_hints(kind)
    assert fields.keys() <= hints.keys(), fields.keys() - hints.keys()
    return {name: _neutral(hint) for name, hint in hints.items()} | fields


def write(folder, index, kind, rows):
    """`records.write_part` of rows that have only some of their fields."""
    records.write_part(folder, index, [full(kind, **row) for row in rows], kind)


def _neutral(hint):
    if isinstance(hint, types.UnionType):
        return None
    return [] if typing.get_origin(hint) is list else _NEUTRAL[hint]
