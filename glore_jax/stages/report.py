"""Stage `report`: collects the figures of all stages and writes report.json, report.md, report.html and the plots."""

from glore_jax import stages, storage
from glore_jax.errors import UserError
from glore_jax.models import hf
from glore_jax.parallel import processes
from glore_jax.report import tables, write


def run(ctx) -> dict:
    return make(ctx) if processes.is_main() else {}


def make(ctx) -> dict:
    c = ctx.config
    figures = storage.read_json(ctx.folder("evaluate", "results.json"))
    main, *others = figures
    manifests = {
        s: storage.read_json(ctx.folder(s, "manifest.json")) for s in stages.STAGES["report"].needs
    }
    results = {
        "name": c.name,
        "task": c.task.name,
        "model": {"base": c.model.base, "parameters": parameters(ctx)},
        "paper_column": c.report.paper_column,
        **figures[main],
        "label_truth": manifests["rollout"]["counts"]["label_truth"],
        "label_truth_test": figures[main].get("label_truth"),
        "templates": None,
        "seconds": {s: m["seconds"] for s, m in manifests.items()},
    }
    results["student"] = results.get("student", {}) | {
        "rounds": manifests["student"]["counts"]["rounds"]
    }
    if "cost" in results:
        results["cost"] |= total_cost(manifests)
    if "test_templates" in others:
        other = figures["test_templates"]
        results["templates"] = {
            "n": other["draft"]["n"],
            "draft": other["draft"]["acc"],
            "rerank": other["pipeline"]["rerank"]["acc"],
            "oracle": other["pipeline"]["oracle"]["acc"],
        }
    examples = [e for e in storage.read_jsonl(ctx.folder("evaluate", "examples.jsonl"))]
    page = write.write(results, telling(examples, c.report.examples), ctx.folder("report"))
    summary = f"{tables.summary(results)}\n\nreport: {page}\n"
    storage.write_text(ctx.folder("report", "summary.txt"), summary)
    ctx.say(summary)
    return {"examples": min(len(examples), c.report.examples)}


def parameters(ctx) -> int:
    """Number of weights of the student."""
    import jax

    from glore_jax.models import llama

    folder = ctx.folder("student", "hf")
    if not folder.exists():
        raise UserError(f"{folder}: no student; run the stage student")
    return int(sum(x.size for x in jax.tree.leaves(llama.abstract(hf.read_config(folder))[1])))


def total_cost(manifests: dict) -> dict:
    """Of the training labels: rollouts made, rollouts at every step, tokens drawn for them, seconds of their stage."""
    rollout = manifests["rollout"]["counts"]
    return {
        "rollouts": rollout["rollouts"],
        "rollouts_full": rollout["rollouts_full"],
        "tokens": rollout["tokens"],
        "seconds": manifests["rollout"]["seconds"],
    }


def telling(examples: list[dict], count: int) -> list[dict]:
    """Examples in which something happened first: fixed, broken, refused fixes; then the rest."""

    def rank(e: dict) -> int:
        fixed = not e["draft_correct"] and e["choice_correct"]
        broken = e["draft_correct"] and not e["choice_correct"]
        missed = not e["choice_correct"] and (e["global_correct"] or e["local_correct"])
        return 0 if fixed else 1 if broken else 2 if missed else 3 if not e["draft_correct"] else 4

    kinds: dict[int, list[dict]] = {}
    for e in examples:
        kinds.setdefault(rank(e), []).append(e)
    out: list[dict] = []
    while len(out) < count and any(
        kinds.values()
    ):  # in turn, so that no kind crowds out the others
        for kind in sorted(kinds):
            if kinds[kind]:
                out.append(kinds[kind].pop(0))
    return out[:count]
