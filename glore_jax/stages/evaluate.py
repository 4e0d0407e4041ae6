"""Stage `evaluate`: the whole system on test questions (paper section 4.2 and figure 3).

    greedy draft -> step scores -> [BAD] at the first step <= `evaluate.mark` -> global and local refinement -> rerank by the ORM

Everything that is generated or scored is kept as records; `measures.py` turns the records into the report's figures.
"""

from glore_jax import storage
from glore_jax.labels.metrics import first_error
from glore_jax.parallel import processes
from glore_jax.sampling.engine import Fork, Job
from glore_jax.sampling.tokens import Sampling
from glore_jax.stages import generation, labelling, measures, models, parts, rewards

GENERATED = ("drafts", "samples", "step_labels", "refinements")
KINDS = ("global", "local_orm", "local_sorm")


def run(ctx) -> dict:
    c = ctx.config.evaluate
    results = {}
    for split in c.splits:
        problems = ctx.problems(split)
        policy = models.load_policy(ctx, "student", "hf")
        drafts = generation.greedy(ctx, f"evaluate/{split}/drafts", policy, problems)
        samples, labelled = [], []
        if split in c.sample_splits:
            sampling = Sampling(c.temperature, max_new=c.max_new)
            samples = generation.sample(
                ctx, f"evaluate/{split}/samples", policy, problems, sampling, c.k
            )
            labelled = labelling.label(
                ctx, f"evaluate/{split}/step_labels", policy, drafts, c.label_k
            )
        scored = score_all(ctx, split, drafts, samples)
        refined = refine(ctx, split, drafts, scored["drafts"])
        finals = score_refinements(ctx, split, refined)
        records = measures.SplitRecords(
            problems, drafts, samples, labelled, scored, refined, finals
        )
        results[split] = measures.measure(ctx, records)
    figures = {s: r.figures.to_json() for s, r in results.items()}
    examples = [e for r in results.values() for e in r.examples]
    processes.on_main(storage.write_json, ctx.folder("evaluate", "results.json"), figures)
    processes.on_main(storage.write_jsonl, ctx.folder("evaluate", "examples.jsonl"), examples)
    return {
        s: {
            "draft": figures[s]["draft"]["acc"],
            "rerank": figures[s]["pipeline"]["rerank"]["acc"],
            "work": {k: w for k in GENERATED if (w := parts.work(ctx, f"evaluate/{s}/{k}"))},
        }
        for s in results
    }


def reward_models(ctx) -> dict[str, tuple[str, ...]]:
    models = {"orm": ("orm", "hf"), "sorm": ("sorm", "hf")}
    return models | ({"balanced_orm": ("orm", "balanced_hf")} if ctx.config.orm.balanced else {})


def score_all(
    ctx, split: str, drafts: list[dict], samples: list[dict]
) -> dict[str, dict[str, list[list[float]]]]:
    """{"drafts" | "samples": {reward model: probabilities per step of each record}}, kept in evaluate/SPLIT/scores."""
    out: dict[str, dict] = {"drafts": {}, "samples": {}}
    rows = drafts + samples
    for name, where in reward_models(ctx).items():

        def make(some, name=name, where=where):
            solutions = [(r["question"], r["steps"]) for r in some]
            values = rewards.score(
                ctx, models.load_reward(ctx, *where), solutions, f"evaluate/{split} {name}"
            )
            return [{"scores": [float(x) for x in v]} for v in values]

        scores = [
            r["scores"] for r in parts.in_parts(ctx, f"evaluate/{split}/scores/{name}", rows, make)
        ]
        out["drafts"][name], out["samples"][name] = scores[: len(drafts)], scores[len(drafts) :]
    return out


def kept(config, draft: list[str], bad: int) -> list[str]:
    """The steps that a refinement of `draft` with [BAD] before step `bad` begins with; the refiner writes what follows. `config`: the
    whole one."""
    return draft[:bad] if config.evaluate.keep_prefix else []


def refine(ctx, split: str, drafts: list[dict], scores: dict[str, list[list[float]]]) -> list[dict]:
    """One record a draft: for each kind the place of [BAD] and the refined steps. Without a flagged step, local = the draft."""
    model = models.load_policy(ctx, "refiner", "hf")
    prompts, mark = ctx.prompts(model), ctx.config.evaluate.mark

    def marks(i: int) -> dict[str, int | None]:
        if not drafts[i]["steps"]:
            return dict.fromkeys(KINDS)
        flagged = {
            kind: first_error(scores[kind.removeprefix("local_")][i], mark) for kind in KINDS[1:]
        }
        return {"global": 0} | {kind: None if at < 0 else at for kind, at in flagged.items()}

    places = [marks(i) for i in range(len(drafts))]
    work = []
    for draft, place in zip(drafts, places, strict=True):
        for bad in sorted({b for b in place.values() if b is not None}):  # one text for equal marks
            begun = kept(ctx.config, draft["steps"], bad)
            work.append((draft, bad, prompts.refine(draft["question"], draft["steps"], bad, begun)))
    both_ways = ctx.config.refiner.attention == "prefix"
    engine = generation.make_engine(
        ctx,
        model,
        [trunk for *_, trunk in work],
        ctx.config.refiner.max_new,
        1,
        bidirectional=both_ways,
    )

    def to_rows(item, job):
        draft, bad, _ = item
        (completion,) = job.completions.values()
        steps = kept(ctx.config, draft["steps"], bad) + ctx.task.split_steps(completion.text)
        return [
            {
                "question_id": draft["question_id"],
                "bad": bad,
                "steps": steps,
                "ended": completion.ended,
                "correct": ctx.task.grade(steps, draft["gold"]),
            }
        ]

    def make_job(item):
        draft, bad, trunk = item
        return Job(f"{draft['question_id']} refined", trunk, [Fork(len(trunk), cut=bad)])

    rows = generation.generate(
        ctx,
        f"evaluate/{split}/refinements",
        work,
        engine,
        Sampling(0.0, max_new=ctx.config.refiner.max_new),
        make_job,
        to_rows,
    )
    by_mark = {(r["question_id"], r["bad"]): r for r in rows}
    refined = []
    for draft, place in zip(drafts, places, strict=True):
        record = {"question_id": draft["question_id"]}
        for kind, bad in place.items():
            same = {
                "bad": None,
                "steps": draft["steps"],
                "correct": draft["correct"],
                "ended": draft["ended"],
            }
            record[kind] = same if bad is None else by_mark[draft["question_id"], bad]
        refined.append(record | {"question": draft["question"]})
    return refined


def score_refinements(ctx, split: str, refined: list[dict]) -> list[dict[str, float]]:
    """The ORM's final score of each refinement; 0 for an empty text."""

    def make(some):
        texts = [(r["question"], r[kind]["steps"]) for r in some for kind in KINDS]
        values = rewards.score(
            ctx, models.load_reward(ctx, "orm", "hf"), texts, f"evaluate/{split} refinements"
        )
        finals = [float(v[-1]) if len(v) else 0.0 for v in values]
        return [
            dict(zip(KINDS, finals[i : i + len(KINDS)], strict=True))
            for i in range(0, len(finals), len(KINDS))
        ]

    return parts.in_parts(ctx, f"evaluate/{split}/scores/refinements", refined, make)
