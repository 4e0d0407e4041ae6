"""The generator of chain problems: what it promises to the stages, to the truth and to the tiny base."""

import random

import pytest

from configs import tiny
from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.tasks.chains import corpus, splits, world
from glore_jax.tasks.chains.difficulty import difficulty_of, to_problem
from glore_jax.tasks.chains.slips import slip
from glore_jax.tasks.chains.task import ChainsTask

SIZE = dict(train=120, dev=60, test=60, test_templates=60)


def make_config(**changes):
    """The quickstart's task but for its difficulty, which may change with the base."""
    config = tiny.get_config().task
    config.size.update(SIZE)
    config.update(dict(steps=(5, 5), distractors=0.25, shuffle=0.1, branch=0.3) | changes)
    return config


@pytest.fixture(scope="module")
def task():
    return ChainsTask(make_config())


@pytest.fixture(scope="module")
def problems(task):
    return {split: task.load(split) for split in task.splits}


@pytest.fixture(scope="module")
def chains():
    """Problems with all knobs wider than the default, as the generator makes them."""
    difficulty = difficulty_of(make_config(steps=(1, 6), distractors=0.6, shuffle=0.7))
    return [splits.draw_for("corpus", random.Random(f"test {i}"), difficulty) for i in range(300)]


def test_sizes_ids_and_limit(problems):
    assert {split: len(rows) for split, rows in problems.items()} == SIZE
    ids = [p.id for rows in problems.values() for p in rows]
    assert ids[0] == "chains-train-00000" and len(set(ids)) == sum(SIZE.values())
    assert ChainsTask(make_config(limit=dict(dev=7))).load("dev") == problems["dev"][:7]


def test_own_solutions_are_right_to_the_last_step(task, problems):
    for problem in (p for rows in problems.values() for p in rows):
        assert task.step_truth(problem, problem.solution) == [True] * len(problem.solution)
        assert task.grade(problem.solution, problem.gold)
        assert task.split_steps("\n".join(problem.solution)) == list(problem.solution)


def test_number_of_steps_follows_the_knob(task, problems):
    low, high = make_config().steps
    assert {len(p.solution) - 1 for rows in problems.values() for p in rows} == set(
        range(low, high + 1)
    )


def test_every_amount_is_a_whole_number_from_2_to_max_value(problems):
    top = make_config().max_value
    for problem in problems["train"]:
        values = problem.facts["claims"].values()
        assert (
            all(isinstance(v, int) and 2 <= v <= top for v in values)
            and int(problem.gold) in values
        )


def test_wrong_answer_line_is_the_first_error(task, problems):
    for problem in problems["dev"]:
        steps = [*problem.solution[:-1], f"#### {int(problem.gold) + 1}"]
        assert task.step_truth(problem, steps) == [True] * (len(steps) - 1) + [False]
        assert not task.grade(steps, problem.gold)


def test_wrong_number_makes_its_step_and_all_later_ones_wrong(task, problems):
    for problem in problems["dev"]:
        at = len(problem.solution) // 2
        result = task.step_result(problem.solution[at])
        steps = list(problem.solution)
        steps[at] = steps[at].replace(f"={result}>>{result}", f"={result}9>>{result}9")
        if at < len(steps) - 1:
            assert task.step_truth(problem, steps) == [True] * at + [False] * (len(steps) - at)


def test_right_value_by_wrong_arithmetic_or_of_an_unknown_amount_is_wrong(task, problems):
    problem = problems["dev"][0]
    first = problem.solution[0]
    value = task.step_result(first)
    expression = first[first.index("<<") : first.index("=", first.index("<<"))]
    assert task.step_truth(problem, [first]) == [True]
    assert task.step_truth(problem, [first.replace(expression, "<<1+1")]) == [False]
    misnamed = [f"{expression}={value}>>{value}, so somebody has {value}."]
    assert task.step_truth(problem, misnamed) == [True] and task.step_truth(
        problem, misnamed, strict=True
    ) == [False]
    other = f" {value}1{first[first.rindex(f' {value}') + len(f' {value}') :]}"
    assert task.step_truth(problem, [first[: first.rindex(f" {value}")] + other]) == [False]
    assert task.step_truth(problem, [first.replace(f">>{value}", f">>{value}0")]) == [False]
    assert task.step_truth(problem, ["So it is clear."]) == [False]


def test_slips_are_found_at_their_step(task, chains):
    where, early = set(), 0
    for i, chain in enumerate(chains):
        problem, right = to_problem(chain, "corpus", i), chain.solution()
        lines, at = slip(chain, random.Random(i))
        assert lines[:at] == right[:at] and lines[at] != right[at] and lines[-1].startswith("#### ")
        truth = task.step_truth(problem, lines, strict=True)
        assert truth == [True] * at + [False] * (len(lines) - at), lines
        where.add(at)
        early += len(lines) < len(right)
        assert len(lines) in (at + 1, len(right))  # an answer before its time ends the solution
    assert where >= {0, 1, 2, 3} and 10 < early < 60


def test_splits_share_no_question(problems):
    questions = {split: {p.question for p in rows} for split, rows in problems.items()}
    assert {
        split: len(q) for split, q in questions.items()
    } == SIZE  # none twice within a split either
    assert len(set().union(*questions.values())) == sum(SIZE.values())


def test_corpus_shares_no_question_with_a_split():
    """By construction: disjoint buckets of the question's hash, and no held-out template outside of its split."""
    task_splits = ("train", "dev", "test")
    for split in task_splits:
        for other in ("corpus", *task_splits):
            assert other == split or not set(splits.BUCKETS[split]) & set(splits.BUCKETS[other])
    difficulty = difficulty_of(make_config())
    for i in range(100):
        for part in corpus.document("solved", random.Random(i), difficulty)[:1]:
            assert splits.bucket(part.text.rstrip("\n")) in splits.BUCKETS["corpus"]


def text_of(document, right=None):
    return "".join(p.text for p in document if right is None or p.right == right)


@pytest.mark.parametrize("kind", corpus.KINDS)
def test_documents_are_a_function_of_the_draw(kind):
    difficulty = difficulty_of(make_config())
    first, again, other = (corpus.document(kind, random.Random(i), difficulty) for i in (3, 3, 4))
    assert first == again != other
    assert all(0 < p.weight <= 1 and p.right in (None, 0.0, 1.0) for p in first)


def test_work_is_judged_right_up_to_the_very_token_of_a_slip(task):
    difficulty, seen = difficulty_of(make_config(steps=(1, 6))), 0
    for i in range(200):
        question, *work = corpus.document("slipped", random.Random(i), difficulty)
        assert question.right is None and [p.right for p in work] == [1.0, 0.0]
        right = text_of(
            corpus.document("solved", random.Random(i), difficulty)[1:]
        )  # the same draw
        good, bad = (text_of(work, value) for value in (1.0, 0.0))
        assert right.startswith(good) and not right.startswith(good + bad[0])
        assert work[0].weight == 1.0 > work[1].weight  # nobody shall learn to write a slip
        seen += good != ""
    assert seen > 150


def test_corrections_end_right_whatever_the_draft():
    difficulty, without = difficulty_of(make_config()), 0
    for i in range(100):
        document = corpus.document("corrected", random.Random(i), difficulty)
        draft, correction = text_of(document[1:]).split("\nCorrection:\n")
        assert document[-1].right is None and document[-1].weight == 1.0
        without += draft == correction
        assert (draft == correction) == (0.0 not in [p.right for p in document])
    assert 5 < without < 30


@pytest.fixture(scope="module")
def drafts(chains):
    """As a model would write them: right ones, and wrong ones that go on from a slip."""
    wrong = [
        corpus.Draft(chain, slip(chain, random.Random(i))[0])
        for i, chain in enumerate(chains[:100])
    ]
    return wrong + [corpus.Draft(chain, chain.solution()) for chain in chains[100:150]]


def test_a_reviewed_draft_is_judged_and_not_imitated(drafts):
    for i, draft in enumerate(drafts):
        question, *work = corpus.of_draft("reviewed", random.Random(i), draft)
        assert question.text == draft.chain.question + "\n" and question.right is None
        assert text_of(work) == "\n".join(draft.lines) + "\n" and all(p.weight < 0.1 for p in work)
        good = text_of(work, 1.0)
        if draft.first_wrong is None:
            assert i >= 100 and good == text_of(work)
        else:
            assert i < 100 and good.count("\n") == draft.first_wrong and work[-1].right == 0.0
            right = "\n".join(draft.chain.solution())
            assert right.startswith(good) and not right.startswith(good + text_of(work, 0.0)[0])


def test_a_draft_that_goes_on_for_too_long(drafts):
    chain = drafts[100].chain
    lines = (*chain.solution(), "#### 1")
    *_, end = corpus.of_draft("reviewed", random.Random(0), corpus.Draft(chain, lines))[:-1]
    assert (end.text, end.right) == ("#### 1", 0.0)


def test_a_redone_draft_is_marked_at_its_start_or_at_its_first_wrong_line(drafts):
    places = {"start": 0, "first wrong": 0}
    for i, draft in enumerate(drafts):
        parts = corpus.of_draft("redone", random.Random(i), draft)
        right = "\n".join(draft.chain.solution())
        assert text_of(p for p in parts if p.weight >= 1.0) == right and text_of(parts).endswith(
            right
        )
        turns = [p for p in parts if p.weight > 1.0]
        assert len(turns) == (draft.first_wrong is not None)
        if turns:  # the first token that is not the draft's
            copied = text_of(parts[: parts.index(turns[0])]).split("Correction:\n")[1]
            assert "\n".join(draft.lines).startswith(copied)
            assert not "\n".join(draft.lines).startswith(copied + turns[0].text)
        shown, correction = text_of(parts[1:]).split("Correction:\n")
        before, after = shown.split("[BAD]")
        assert before + after == "\n".join(draft.lines) + "\n"
        lines = before.count("\n")
        assert lines in (0, draft.first_wrong or 0)
        if draft.first_wrong:
            places["first wrong" if lines else "start"] += 1
    assert min(places.values()) > 15


def test_bare_arithmetic_has_what_solutions_ask_for():
    """All facts are true and in bounds; sums and differences of two large amounts are among them."""
    difficulty, large = difficulty_of(make_config()), {"+": 0, "-": 0}
    for i in range(100):
        for fact in text_of(corpus.document("facts", random.Random(i), difficulty)).split():
            expression, value = fact.removeprefix("<<").split(">>")
            asked, answer = expression.split("=")
            result = eval(asked)
            assert answer == value == f"{result:g}" and 0 <= result <= difficulty.max_value
            op = next(o for o in "+-*/" if o in asked)
            if op in large and int(asked.split(op)[1]) > difficulty.operand[1]:
                large[op] += 1
    assert min(large.values()) > 20


def test_bare_arithmetic_is_judged_fact_by_fact():
    judged = {0.0: 0, 1.0: 0}
    for i in range(50):
        shown, right = "", True
        for part in corpus.document("checked", random.Random(i), difficulty_of(make_config())):
            shown += part.text
            right = right and part.right != 0.0
            if part.text.endswith(" "):
                expression, value = shown.strip().removeprefix("<<").split(">>")
                asked, answer = expression.split("=")
                result = int(eval(asked))
                assert (answer == value == str(result)) == right
                judged[float(right)] += 1
                shown, right = "", True
    assert min(judged.values()) > 100


def test_told_works_out_all_amounts_of_the_story():
    for i in range(100):
        story, work, *claims = corpus.document(
            "told", random.Random(i), difficulty_of(make_config())
        )
        claimed = text_of(claims).splitlines()
        assert "How" not in story.text and len(claimed) == len(set(claimed)) > 1
        for line in work.text.splitlines():  # what a line concludes is claimed in the end, too
            assert line.rsplit(", so ", 1)[1][:1].upper() + line.rsplit(", so ", 1)[1][1:] in [
                c[:1].upper() + c[1:] for c in claimed
            ]


def test_held_out_templates_occur_in_their_split_only(problems, chains):
    held_out = {"/".join(template) for template in world.HELD_OUT}
    for split, rows in problems.items():
        templates = {p.facts["template"] for p in rows}
        assert templates <= held_out if split == "test_templates" else not templates & held_out
    assert {p.facts["template"] for p in problems["test_templates"]} == held_out
    assert not {f"{c.family}/{c.kind}" for c in chains} & held_out


def test_problems_are_a_function_of_the_config(problems):
    assert ChainsTask(make_config()).load("test") == problems["test"]
    assert ChainsTask(make_config(size=dict(test=20))).load("test") == problems["test"][:20]
    other_seed = ChainsTask(make_config(seed=2)).load("test")
    assert not {p.question for p in other_seed} & {p.question for p in problems["test"]}


def test_problems_of_a_seed_never_change():
    """If they must: put the new value here, raise `Chains.VERSION` and make the packaged base again."""
    task = ChainsTask(make_config(steps=(4, 5), shuffle=0.0))
    rows = [
        (p.question, p.gold, p.solution, p.facts)
        for split in splits.SPLITS
        for p in task.load(split)
    ]
    assert storage.fingerprint(rows) == "824488681d787cd2"


def test_distractors_are_named_but_not_used():
    def unused(rate):
        config = make_config(distractors=rate, size=dict(train=60))
        rows = ChainsTask(config).load("train")
        return sum(len(p.question.split(". ")) - len(p.solution) for p in rows) / len(rows)

    assert unused(0.9) > unused(0.0) + 1  # up to two more sentences a question, never more steps


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(steps=(4, 3)), r"task.steps = \(4, 3\): needs 1 <= low <= high"),
        (dict(factor=(1, 3)), r"task.factor = \(1, 3\): needs 2 <= low <= high"),
        (dict(max_value=50), "task.max_value = 50 is less than the largest operand 99"),
        (dict(size=dict(dev=0)), "split 'dev' is empty"),
    ],
)
def test_knobs_out_of_bounds(changes, message):
    with pytest.raises(UserError, match=message):
        ChainsTask(make_config(**changes)).load("dev")


def test_unknown_split(task):
    with pytest.raises(
        UserError, match="no split 'validation'; choose one of train, dev, test, test_templates"
    ):
        task.load("validation")
