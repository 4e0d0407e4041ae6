"""What is kept on the disk comes back, and has no name there."""

import tempfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glore_jax.errors import UserError
from glore_jax.scratch import Kept, ScratchFile


def test_bytes_come_back_as_an_array(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    file = ScratchFile()
    numbers = np.arange(10, dtype=np.int32)
    assert [file.append(numbers[:4].tobytes()), file.append(numbers[4:].tobytes())] == [0, 16]
    assert file.read(16, 4) == numbers[4:5].tobytes()
    found = file.mapped(np.int32)
    assert found.tolist() == numbers.tolist() and list(tmp_path.iterdir()) == []
    assert ScratchFile().mapped(np.int32).shape == (0,)


@given(st.lists(st.tuples(st.integers(-3, 3), st.text(max_size=3))))
def test_items_come_back_in_the_order_of_their_keys(items):
    kept = Kept(iter(items), key=lambda item: item[0])
    expected = sorted(items, key=lambda item: item[0])
    assert list(kept) == expected and len(kept) == len(items)
    assert kept[1:4] == expected[1:4] and kept[-2:] == expected[-2:]
    assert list(Kept(items)) == items


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(UserError, match="cannot keep temporary data in .*gone: .*set TMPDIR"):
        ScratchFile()
