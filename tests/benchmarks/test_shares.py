"""The simulated pod does what a real one would: every item once, and nobody idle for long."""

import random

import pytest

from benchmarks import shares
from benchmarks.shares import Host, Pod, Text
from glore_jax.stages import parts

TEXTS = [Text(20 + 37 * i % 250, 1 + i % 7) for i in range(100)]


def run(work, hosts, host, size=0, dealt=False):
    pod = Pod(work, parts.layout(len(work.trunks), size), hosts, host, dealt)
    pod.run()
    return pod


@pytest.mark.parametrize("seed", range(12))
def test_every_item_is_made_once_and_every_fork_ends(seed):
    rng = random.Random(seed)
    items, k = rng.randrange(1, 400), rng.randrange(1, 7)
    kind = rng.choice([shares.solutions, shares.labels])
    work = kind("any", TEXTS, items, k, 200)
    host = Host(rng.randrange(1, 5), rng.randrange(1, 5), rng.randrange(1, 3), 16)
    pod = run(work, rng.randrange(1, 12), host, rng.choice([0, 0, 7]), rng.random() < 0.2)
    assert sorted(item for made in pod.made for item in made) == list(range(items))
    again = kind("any", TEXTS, items, k, 200)
    assert pod.tokens == sum(sum(map(sum, trunk())) for trunk in again.trunks)
    assert all(free == host.slots for groups in pod.free for free in groups)
    assert not any(shelf for groups in pod.shelves for shelf in groups)


def test_64_hosts_are_hardly_idle():
    host = Host(groups=4, slots=8, shelves=2, round_steps=16)
    idle = {}
    for name, options in {"claimed": {}, "dealt": {"size": 256, "dealt": True}}.items():
        work = shares.solutions("sample", TEXTS, 4000, 24, 200)
        idle[name] = shares.figures([run(work, 64, host, **options)])["idle"]
    assert idle["claimed"] < 0.05 and idle["dealt"] > 0.5


def test_labels_are_tried_from_the_last_cut_backwards():
    waves = [trunk() for trunk in shares.labels("any", TEXTS, 300, 3, 200).trunks]
    assert all(len(wave) == 3 for tried in waves for wave in tried)
    assert 100 < sum(not tried for tried in waves) < 200  # the right ones
    assert max(map(len, waves[:100])) > max(map(len, waves[200:]))  # the longest come first
