"""Stage `student`: supervised fine-tuning, then expert iteration (paper section 4.1 step 1).

    D0 = worked solutions (or, where the task has none, right answers of the one-shot prompted base)
    student = fine-tune(base, D0)
    repeat: D = D + distinct right samples of the student;  student = fine-tune(base, D)      until greedy accuracy stops rising

Every round starts from the base again. Accuracy is greedy on the split `dev`; the best round becomes `student/hf`.
"""

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.models import hf_export
from glore_jax.parallel import processes
from glore_jax.stages import generation, models, training
from glore_jax.training import losses
from glore_jax.training.batches import language_example


def run(ctx) -> dict:
    c = ctx.config.student
    train, dev = ctx.problems("train"), ctx.problems("dev")
    data = first_set(ctx, train)
    rounds = [ctx.step("round-0", lambda: fine_tune(ctx, 0, data, dev))]
    while len(rounds) <= c.ei.rounds and not _stopped_rising(rounds, c.ei.patience):
        r = len(rounds)
        data = data + ctx.step(f"found-{r}", lambda: {"rows": explore(ctx, r, data, train)})["rows"]  # noqa: B023
        rounds.append(ctx.step(f"round-{r}", lambda: fine_tune(ctx, r, data, dev)))  # noqa: B023
    best = max(range(len(rounds)), key=lambda r: rounds[r]["acc"])
    models.publish(ctx, "student", f"round-{best}", ctx.config.model.dtype)
    return {"rounds": rounds, "best": best, "acc": rounds[best]["acc"]}


def _stopped_rising(rounds: list[dict], patience: int) -> bool:
    best = max(range(len(rounds)), key=lambda r: rounds[r]["acc"])
    return len(rounds) - 1 - best >= patience


def first_set(ctx, train) -> list[dict]:
    """Solutions {question_id, question, steps} to start from: the task's own of the first `student.worked` (0: all) problems."""
    worked = [
        {"question_id": p.id, "question": p.question, "steps": list(p.solution)}
        for p in generation.first(train, ctx.config.student.worked)
        if p.solution
    ]
    if worked:
        return worked
    return ctx.step("one-shot", lambda: {"rows": one_shot(ctx, train)})["rows"]


def one_shot(ctx, train) -> list[dict]:
    """Right answers of the base, prompted with one worked example (for tasks without worked solutions, such as SVAMP)."""
    c = ctx.config.student
    if not c.shot.question or not c.shot.solution:
        raise UserError(
            "the task has no worked solutions: give student.shot.question and student.shot.solution, a worked example"
        )
    shot = (
        ctx.config.task.prompt.replace("{question}", c.shot.question)
        + c.shot.solution.strip()
        + "\n\n"
    )
    base = models.load_base(ctx)
    bos = [] if base.tokenizer.bos_id is None else [base.tokenizer.bos_id]

    def trunk_of(problem):
        return bos + base.tokenizer.encode(
            shot + ctx.config.task.prompt.replace("{question}", problem.question)
        )

    head = ctx.config.task.prompt.split("{question}")[0].strip()
    sampling = generation.sampling_of(c.ei, stop=tuple(s for s in ("\n\n", head) if s))
    rows = generation.sample(
        ctx,
        "student/one-shot",
        base,
        generation.first(train, c.ei.questions),
        sampling,
        c.ei.k,
        trunk_of,
    )
    found = distinct_right(rows, c.ei.per_question, [])
    if not found:
        raise UserError(
            f"the base solves none of {len(rows)} one-shot samples: use a stronger model.base or another student.shot"
        )
    return found


def explore(ctx, r: int, data: list[dict], train) -> list[dict]:
    """Distinct right samples of the student of the round before, new to `data`."""
    c = ctx.config.student.ei
    model = models.load_policy(ctx, "student", f"round-{r - 1}", "hf")
    rows = generation.sample(
        ctx,
        f"student/samples-{r}",
        model,
        generation.first(train, c.questions),
        generation.sampling_of(c),
        c.k,
    )
    found = distinct_right(rows, c.per_question, data)
    ctx.say(
        f"student: round {r} samples {generation.accuracy(rows):.3f} right, {len(found)} new solutions, {generation.truncated(rows)} truncated"
    )
    return found


def distinct_right(rows: list[dict], per_question: int, known: list[dict]) -> list[dict]:
    """Right samples, each text once a question and none that is `known`; at most `per_question` (0: all) of a question."""
    seen = {(d["question_id"], tuple(d["steps"])) for d in known}
    taken: dict[str, int] = {}
    found = []
    for row in sorted(rows, key=lambda r: (r["question_id"], r["sample_id"])):
        name = (row["question_id"], tuple(row["steps"]))
        if (
            row["correct"]
            and name not in seen
            and (not per_question or taken.get(name[0], 0) < per_question)
        ):
            seen.add(name)
            taken[name[0]] = taken.get(name[0], 0) + 1
            found.append(
                {
                    "question_id": row["question_id"],
                    "question": row["question"],
                    "steps": row["steps"],
                }
            )
    return found


def fine_tune(ctx, r: int, data: list[dict], dev) -> dict:
    """Trains the base on `data` and measures it; leaves `student/round-R/hf`."""
    section, name = ctx.config.student.sft, f"student/round-{r}"
    base = models.load_base(ctx)
    prompts = ctx.prompts(base)
    examples = [
        language_example(prompts.question(d["question"]), prompts.solution(d["steps"])[0])
        for d in data
    ]
    batches, too_long = training.make_batches(ctx, examples, section, base.config)
    trained = training.fit(ctx, name, base, batches, losses.language_loss, section)
    folder = ctx.folder("student", f"round-{r}", "hf")
    hf_export.save_policy(folder, trained.model, ctx.config.model.dtype)
    training.drop_checkpoints(ctx, name)
    rows = generation.greedy(
        ctx, f"student/dev-{r}", models.load_policy(ctx, "student", f"round-{r}", "hf"), dev
    )
    acc = generation.accuracy(rows)
    ctx.say(
        f"student: round {r} has {acc:.3f} greedy accuracy on {len(rows)} dev questions ({len(examples)} solutions)"
    )
    processes.on_main(storage.write_jsonl, ctx.folder("student", f"round-{r}", "data.jsonl"), data)
    show_drafts(ctx, name, rows, trained.updates)
    return {
        "round": r,
        "acc": acc,
        "n": len(rows),
        "examples": len(examples),
        "too_long": too_long,
        "truncated": generation.truncated(rows),
        "fill": batches.plan.fill,
        **trained.metrics,
    }


def show_drafts(ctx, name: str, rows: list[dict], step: int, count: int = 8) -> None:
    """Some drafts for TensorBoard's text tab."""
    writer = ctx.writer(f"{name}/dev")
    for row in rows[:count]:
        verdict = "right" if row["correct"] else f"wrong, {row['gold']} is right"
        writer.text(
            row["question_id"],
            "    " + "\n    ".join([row["question"], *row["steps"], f"({verdict})"]),
            step,
        )
    writer.scalars({"dev_accuracy": generation.accuracy(rows)}, step)
    writer.close()
