"""One question in; draft, step scores, both refinements and the choice out, in a terminal.

python -m glore_jax.solve --workdir=runs/tiny --question="Ben has 22 pies. ..."
"""

import argparse
import sys

from absl import logging

from glore_jax import storage
from glore_jax.errors import UserError

_WIDTH = 10


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise UserError(message)


def parse(argv: list[str] | None) -> tuple[str, str]:
    """(work directory, question) from the command line; UserError says what is wrong with it."""
    parser = _Parser(
        "python -m glore_jax.solve",
        description="Answer one question with all that a run has trained.",
    )
    parser.add_argument("--workdir", required=True, help="a finished work directory")
    either = parser.add_mutually_exclusive_group(required=True)
    either.add_argument("--question", help="the question")
    either.add_argument("--question-file", help="a text file that holds the question")
    given = parser.parse_args(argv)
    text = storage.read_text(given.question_file) if given.question is None else given.question
    if not text.strip():
        raise UserError("the question is empty")
    return given.workdir, " ".join(text.split())


def solve(workdir, text: str) -> dict:
    """The draft of `text` with its scores, its refinements and the choice: an entry of the report's examples, without truth."""
    from ml_collections import ConfigDict

    from glore_jax.labels.metrics import first_error
    from glore_jax.sampling.engine import Fork, Job
    from glore_jax.sampling.tokens import Sampling
    from glore_jax.stages import generation, models, refinements, rewards
    from glore_jax.stages.context import Context

    file = storage.path(workdir) / "config.json"
    if not file.exists():
        raise UserError(
            f"{workdir} is not a work directory (no config.json): run glore_jax.main first"
        )
    ctx = Context(ConfigDict(storage.read_json(file)["config"]), workdir)
    for stage in ("student", "orm", "sorm", "refiner"):
        if not ctx.folder(stage, "hf").exists():
            raise UserError(f"{workdir} has no finished {stage}: run glore_jax.main on it first")

    both_ways = ctx.config.refiner.attention == "prefix"

    def write(model, trunk, max_new, bidirectional=False):
        engine = generation.make_engine(
            ctx, model, [trunk], max_new, 1, bidirectional=bidirectional
        )
        (job,) = engine.run(
            [Job("solve", trunk, [Fork(len(trunk))])], Sampling(0.0, max_new=max_new)
        )
        return ctx.task.split_steps(next(iter(job.completions.values())).text)

    student = models.load_policy(ctx, "student", "hf")
    draft = write(student, ctx.prompts(student).question(text), ctx.config.sample.max_new)
    if not draft:
        raise UserError("the student wrote nothing for this question")
    orm, sorm = models.load_reward(ctx, "orm", "hf"), models.load_reward(ctx, "sorm", "hf")
    (steps,) = rewards.score(ctx, sorm, [(text, draft)], "sorm")
    bad = first_error(steps, ctx.config.evaluate.mark)
    refiner = models.load_policy(ctx, "refiner", "hf")

    def refine(at):
        begun = refinements.kept_prefix(ctx.config, draft, at)
        trunk = ctx.prompts(refiner).refine(text, draft, at, begun)
        return begun + write(refiner, trunk, ctx.config.refiner.max_new, both_ways)

    texts = {"draft": draft, "global": refine(0)}
    texts["local"] = draft if bad < 0 else texts["global"] if bad == 0 else refine(bad)
    finals = rewards.score(ctx, orm, [(text, t) for t in texts.values()], "orm")
    scores = {name: float(v[-1]) if len(v) else 0.0 for name, v in zip(texts, finals, strict=True)}
    choice = max(scores, key=scores.get)
    return {
        "question": text,
        "sorm": [float(s) for s in steps],
        "bad": bad,
        "texts": texts,
        "scores": scores,
        "choice": choice,
        "answer": ctx.task.answer(texts[choice]),
    }


def show(found: dict) -> str:
    lines = [f"question  {found['question']}", ""]
    for name, steps in found["texts"].items():
        mark = " <- chosen" if name == found["choice"] else ""
        same = (
            " (no step is flagged: the draft itself)"
            if name == "local" and found["bad"] < 0
            else ""
        )
        lines.append(f"{name:<{_WIDTH}}ORM {found['scores'][name]:.2f}{mark}{same}")
        if same:
            continue
        for i, step in enumerate(steps):
            score = f"{found['sorm'][i]:.2f}" if name == "draft" else "    "
            bad = "[BAD] " if name == "draft" and i == found["bad"] else ""
            lines.append(f"    {score}  {bad}{step}")
        lines.append("")
    return "\n".join(
        [*lines, f"answer    {found['answer'] if found['answer'] is not None else 'none'}"]
    )


def main(argv: list[str] | None = None) -> int:
    logging.set_verbosity(logging.WARNING)
    try:
        print(show(solve(*parse(argv))))
        return 0
    except UserError as error:
        print(f"glore: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
