"""The most similar text of another set, against a comparison of all pairs."""

from hypothesis import given
from hypothesis import strategies as st

from glore_jax.tasks.duplicates import nearest

PENS = "Jack had 5 pens and bought 7 pens more."
CAKE = "Each cake needs 3 eggs."


def test_some_texts():
    others = [CAKE, "Jack had 5 pens and bought 8 pens more!", PENS.upper()]
    assert nearest([PENS, "Nobody knows."], others, 0.7) == [(2, 1.0), None]
    assert nearest([PENS], others[:2], 0.7) == [(1, 7 / 9)]
    assert nearest([PENS], others[:2], 0.8) == [None]
    assert nearest(["", "?"], ["", "!", CAKE], 0.5) == [None, None]
    assert nearest([], others, 0.5) == nearest([], [], 0.5) == []


texts = st.lists(
    st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8).map(" ".join), max_size=10
)


@given(texts, texts, st.sampled_from([0.2, 0.5, 0.6, 0.8, 1.0]))
def test_as_by_comparing_all_pairs(ours, theirs, share):
    def best(text):
        words = set(text.split())
        alike = [len(words & set(o.split())) / len(words | set(o.split())) for o in theirs]
        place = max(range(len(theirs)), key=lambda i: alike[i], default=None)
        return (place, alike[place]) if theirs and alike[place] >= share else None

    assert nearest(ours, theirs, share) == [best(text) for text in ours]
