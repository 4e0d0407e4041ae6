"""How long the hosts of a large pod stand idle while the others still generate: simulated.

    python -m benchmarks.shares --texts=train.jsonl --hosts=64

prints a line of JSON for each thing that a run of `configs/gsm8k_llama2_7b.py` generates, and one
for all of them: `idle`, the share of the hosts' time that passes between a host's own end and that
of the last one; `busy`, the share of all slots' time in which a token is drawn; and the `tokens`
that a slot of the slowest host would draw in its time. With `--size=256 --dealt` parts are of one
size and all dealt at the start, none is drawn.

What is real: how work is cut and claimed (`parts.layout`, `parts.claim`), the sizes of the engine
(the config's), how its groups, shelves and slots are filled, and the lengths of texts, which are
those of the file: JSON lines with an "answer", as GSM8K has them, a token for three characters.
What is supposed: all hosts are equally fast, a round takes as long whatever sits in its slots, half
of all drafts are right (they cost no rollouts), and of a wrong draft's cuts every other one has a
success, which ends its scan.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import heapq
import itertools
import json
import random
from collections.abc import Callable, Iterator, Sequence

from benchmarks import harness
from glore_jax.stages import parts

CHARACTERS = 3  # of a token
TRAIN, DEV, TEST = 7217, 256, 1319  # questions of GSM8K, as the config splits them
CONFIG = "configs/gsm8k_llama2_7b.py"


@dataclasses.dataclass(frozen=True)
class Text:
    """Length of a solution: tokens, lines."""

    tokens: int
    lines: int


Waves = list[list[int]]  # tokens of the forks of a trunk; a wave begins when that before has ended
Trunk = Callable[[], Waves]


@dataclasses.dataclass(frozen=True)
class Work:
    """Something that is generated. Its trunks are made when their turn comes."""

    name: str
    trunks: Sequence[Trunk]
    per_trunk: int


@dataclasses.dataclass(frozen=True)
class Host:
    """Sizes of a host's engine."""

    groups: int
    slots: int
    shelves: int
    round_steps: int


# What there is to do.


def read_texts(file: str) -> list[Text]:
    with open(file, encoding="utf-8") as lines:
        answers = [json.loads(line)["answer"] for line in lines]
    return [Text(max(1, len(a) // CHARACTERS), a.count("\n") + 1) for a in answers]


def solutions(name: str, texts: Sequence[Text], questions: int, k: int, max_new: int) -> Work:
    """k solutions of each question."""

    def trunk(question: int, samples: range) -> Trunk:
        rng = random.Random(f"{name} {question} {samples.start}")
        return lambda: [[min(max_new, rng.choice(texts).tokens) for _ in samples]]

    items = parts.by_samples(k)
    return Work(name, [trunk(i, samples) for i in range(questions) for samples in items], k)


def labels(name: str, texts: Sequence[Text], drafts: int, k: int, max_new: int) -> Work:
    """k rollouts a cut of each draft, backwards; drafts of most steps first."""
    rng = random.Random(name)
    longest_first = sorted((rng.choice(texts).lines for _ in range(drafts)), reverse=True)

    def trunk(draft: int, lines: int) -> Trunk:
        rng = random.Random(f"{name} {draft}")

        def waves() -> Waves:
            if rng.random() < 0.5:
                return []
            tried = []
            for cut in range(lines - 1, 0, -1):
                left = (lines - cut) / lines
                written = [max(1, int(rng.choice(texts).tokens * left)) for _ in range(k)]
                tried.append([min(max_new, tokens) for tokens in written])
                if rng.random() < 0.5:
                    break
            return tried

        return waves

    return Work(name, [trunk(i, lines) for i, lines in enumerate(longest_first)], k)


def of_run(c, texts: Sequence[Text]) -> list[Work]:
    """All that a run of config `c` generates."""
    short, long = c.sample.max_new, c.rollout.max_new
    drafts = TRAIN * c.rollout.drafts_per_question
    works = [solutions("sample", texts, TRAIN, c.sample.k, short)]
    for number in range(1, c.student.ei.rounds + 1):
        works.append(solutions(f"student/{number}", texts, TRAIN, c.student.ei.k, short))
    works += [solutions(f"dev/{i}", texts, DEV, 1, short) for i in range(c.student.ei.rounds + 1)]
    works += [
        labels("rollout", texts, drafts, c.rollout.k, long),
        solutions("test/drafts", texts, TEST, 1, short),
        solutions("test/samples", texts, TEST, c.evaluate.k, short),
        labels("test/labels", texts, TEST, c.evaluate.label_k, long),
        solutions("test/refined", texts, 3 * TEST, 1, short),
    ]
    return works


# The pod.


class Lying:
    """A trunk on a shelf: its forks that wait, and how many of its wave have not ended."""

    def __init__(self, waves: Waves):
        self.waves = collections.deque(waves)
        self.wait: collections.deque[int] = collections.deque()
        self.left = 0
        self.next_wave()

    def next_wave(self) -> None:
        if self.waves:
            self.wait.extend(self.waves.popleft())
            self.left = len(self.wait)

    def end_fork(self) -> bool:
        """A fork has ended; whether the trunk has."""
        self.left -= 1
        if not self.left:
            self.next_wave()
        return not self.left


class Pod:
    """Hosts that make `work` together. `made` has the items of each host in their order."""

    def __init__(self, work: Work, cut: parts.Layout, hosts: int, host: Host, dealt: bool):
        self.work = work
        self.host = host
        self.made: list[list[int]] = [[] for _ in range(hosts)]
        counter = itertools.count()
        largest = max(map(len, cut.parts))
        hand = len(cut.parts) if dealt else -(-host.groups * host.shelves // largest)
        missing = range(len(cut.parts))
        self.items = [
            self._items(i, cut, parts.claim(missing, i, hosts, hand, lambda: next(counter)))
            for i in range(hosts)
        ]
        self.shelves: list[list[list[Lying]]] = [
            [[] for _ in range(host.groups)] for _ in range(hosts)
        ]
        self.free = [[host.slots] * host.groups for _ in range(hosts)]
        self.ended = [0] * hosts  # when a host's last fork did
        self.tokens = 0
        # (when it ends, to tell equal ones apart, host, group, trunk) of forks that sit in slots
        self.events: list[tuple[int, int, int, int, Lying]] = []
        self.count = itertools.count()

    def _items(self, i: int, cut: parts.Layout, claimed: Iterator[int]) -> Iterator[Lying]:
        for part in claimed:
            for item in cut.parts[part]:
                self.made[i].append(item)
                lying = Lying(self.work.trunks[item]())
                if lying.left:
                    yield lying

    def run(self) -> None:
        hosts = range(len(self.made))
        for _ in range(self.host.shelves):
            for group, i in itertools.product(range(self.host.groups), hosts):
                self.shelves[i][group] += itertools.islice(self.items[i], 1)
        for i, group in itertools.product(hosts, range(self.host.groups)):
            self._seat(0, i, group)
        while self.events:
            now, _, i, group, lying = heapq.heappop(self.events)
            self.ended[i] = now
            self.free[i][group] += 1
            if lying.end_fork():
                self.shelves[i][group].remove(lying)
                self.shelves[i][group] += itertools.islice(self.items[i], 1)
            self._seat(now, i, group)

    def _seat(self, now: int, i: int, group: int) -> None:
        steps = self.host.round_steps
        for lying in self.shelves[i][group]:
            while lying.wait and self.free[i][group]:
                self.free[i][group] -= 1
                tokens = lying.wait.popleft()
                self.tokens += tokens
                end = now + -(-tokens // steps) * steps  # seen at the end of a round
                heapq.heappush(self.events, (end, next(self.count), i, group, lying))

    @property
    def slot_steps(self) -> int:
        """Of all slots until the last host ends."""
        return len(self.ended) * self.host.groups * self.host.slots * max(self.ended)


def engine_of(c, per_trunk: int) -> Host:
    """The engine for so many forks a trunk, by the sizes that config `c` asks for."""
    slots = min(per_trunk, c.engine.siblings)
    shelves = c.engine.shelves if per_trunk > 1 else 1
    return Host(c.engine.groups * c.engine.siblings // slots, slots, shelves, c.engine.round_steps)


def figures(pods: Sequence[Pod]) -> dict[str, float]:
    """Of all `pods`, which work one after the other."""
    whole = sum(max(pod.ended) * len(pod.ended) for pod in pods)
    idle = whole - sum(sum(pod.ended) for pod in pods)
    busy = sum(pod.tokens for pod in pods) / sum(pod.slot_steps for pod in pods)
    tokens = sum(max(pod.ended) for pod in pods)
    return {"idle": round(idle / whole, 4), "busy": round(busy, 4), "tokens": tokens}


def read_flags() -> argparse.Namespace:
    parser = harness.parser(__doc__)
    parser.add_argument("--texts", required=True, help="JSON lines with an `answer`: their lengths")
    parser.add_argument("--hosts", type=int, default=64)
    parser.add_argument("--size", type=int, default=0, help="items of a part; 0: as they suit")
    parser.add_argument("--dealt", action="store_true", help="all parts at the start, none drawn")
    return parser.parse_args()


def main() -> None:
    flags = read_flags()
    c = harness.read_config(CONFIG)
    pods = []
    for work in of_run(c, read_texts(flags.texts)):
        cut = parts.layout(len(work.trunks), flags.size)
        pod = Pod(work, cut, flags.hosts, engine_of(c, work.per_trunk), flags.dealt)
        pod.run()
        pods.append(pod)
        line = {"work": work.name, "items": len(work.trunks), "parts": len(cut.parts)}
        print(json.dumps(line | figures([pod])), flush=True)
    print(json.dumps({"work": "all"} | figures(pods)), flush=True)


if __name__ == "__main__":
    main()
