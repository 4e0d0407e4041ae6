"""Which texts are variations of one story."""

from hypothesis import given
from hypothesis import strategies as st

from glore_jax.tasks.stories import stories_of

PENS = "Jack had 5 pens and bought 7 pens more."
OTHER_NUMBERS = "Jack had 50 pens, and bought 9.5 pens more!"
LONGER = "Jack had some pens and then bought 7 pens more."  # 7 of 9 words
LONGER_STILL = (
    "Once Jack had some pens and then bought 7 pens more there."  # 7 of 11 with the first
)
CAKE = "Each cake needs 3 eggs."


def test_variations_are_one_story():
    assert stories_of([CAKE, PENS, OTHER_NUMBERS, LONGER], 0.7) == [0, 1, 1, 1]
    assert stories_of([PENS, CAKE, PENS], 1.0) == [0, 1, 0]
    assert stories_of([PENS, LONGER], 0.8) == [0, 1]


def test_a_chain_of_variations_is_one_story():
    assert stories_of([PENS, LONGER_STILL], 0.7) == [0, 1]
    assert stories_of([PENS, LONGER_STILL, LONGER], 0.7) == [0, 0, 0]


def test_texts_without_words():
    assert stories_of(["3 + 4", "5", CAKE], 0.5) == [0, 0, 2]
    assert stories_of([], 0.5) == []


texts = st.lists(
    st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=5).map(" ".join), max_size=12
)


@given(texts, st.sampled_from([0.3, 0.5, 0.9]))
def test_different_stories_have_little_in_common(texts, share):
    found = stories_of(texts, share)
    assert all(found[first] == first <= place for place, first in enumerate(found))
    words = [set(text.split()) for text in texts]
    for i, one in enumerate(words):
        for j, other in enumerate(words):
            if len(one & other) >= share * len(one | other):
                assert found[i] == found[j]
