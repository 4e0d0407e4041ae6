"""From evaluation records to figures: the contract of `report.json` (design, section 4), each with its count."""

import math

import numpy as np

from glore_jax.labels import metrics, selection
from glore_jax.labels.balance import label_rates
from glore_jax.stages import labelling


def measure(ctx, problems, drafts, samples, labelled, scored, refined, finals) -> dict:
    """{"figures": nested dict, "examples": list} of one split. `samples` and `labelled` may be empty."""
    task, c = ctx.task, ctx.config.evaluate
    by_id = {p.id: p for p in problems}
    truth = [task.step_truth(by_id[d["question_id"]], d["steps"]) for d in drafts]
    known = all(t is not None for t in truth)
    labels = {r["question_id"]: r["labels"] for r in labelled}
    scores = scored["drafts"]
    figures = {
        "draft": _draft(drafts, truth if known else [labels.get(d["question_id"]) for d in drafts]),
        "final": {m: _final(scores[m], drafts, c.threshold) for m in scores},
        "refine": _refine(drafts, refined),
        "pipeline": _pipeline(drafts, refined, finals, scores["orm"]),
        "curves": {},
    }
    if known:
        figures["step_truth"] = {m: _steps(scores[m], truth, c.threshold) for m in scores}
        strict = [task.step_truth(by_id[d["question_id"]], d["steps"], strict=True) for d in drafts]
        figures["step_truth_strict"] = {m: _steps(scores[m], strict, c.threshold) for m in scores}
        if labels_agree := labelling.label_truth(task, by_id, labelled):
            strict_acc = labelling.label_truth(task, by_id, labelled, strict=True)["acc"]
            figures["label_truth"] = labels_agree | {"strict_acc": strict_acc}
    if labelled:
        rows = [labels.get(d["question_id"]) for d in drafts]
        figures["step"] = {m: _steps(scores[m], rows, c.threshold) for m in scores}
        rates = label_rates(labelled)
        figures["curves"]["label_rate"] = {
            "length": [r["length"] for r in rates],
            "rate": [r["rate"] for r in rates],
            "n": [r["n"] for r in rates],
        }
        figures["cost"] = labelling.cost(labelled, c.label_k)
    reference = truth if known else [labels.get(d["question_id"]) for d in drafts]
    figures["curves"] |= _calibration(scores, reference)
    if samples:
        figures |= _samples(ctx, samples, scored["samples"], figures)
    return {"figures": figures, "examples": _examples(drafts, refined, finals, scores, truth)}


def _draft(drafts, truth) -> dict:
    errors = [t.index(0) + 1 for t in ([int(x) for x in t] for t in truth if t) if 0 in t]
    return {
        "acc": float(np.mean([d["correct"] for d in drafts])),
        "n": len(drafts),
        "truncated": sum(not d["ended"] for d in drafts),
        "steps_mean": float(
            np.mean([max(len(d["steps"]) - 1, 0) for d in drafts])
        ),  # the answer line not counted
        "first_error_histogram": [[s, errors.count(s)] for s in sorted(set(errors))],
    }


def _flat(scores, labels):
    pairs = [
        (s, x)
        for row, ref in zip(scores, labels, strict=True)
        if ref is not None
        for s, x in zip(row, ref, strict=True)
    ]
    return [s for s, _ in pairs], [int(x) for _, x in pairs]


def _steps(scores, labels, threshold) -> dict:
    """Step accuracy over all steps with the final one included, as in the paper's table 1, and where the first error is."""
    p, y = _flat(scores, labels)
    rows = [(s, [int(v) for v in ref]) for s, ref in zip(scores, labels, strict=True) if ref]
    found = metrics.first_error_accuracy(
        [metrics.first_error(s, threshold) for s, _ in rows],
        [ref.index(0) if 0 in ref else -1 for _, ref in rows],
    )
    return metrics.binary_scores(p, y, threshold) | {
        "first_error_acc": found["acc"],
        "first_error_f1": found["f1"],
        "auc": metrics.auc(p, y)[0],
        "positive": float(np.mean(y)) if y else None,
    }


def _last(scores) -> list[float]:
    return [float(s[-1]) if len(s) else 0.0 for s in scores]


def _final(scores, drafts, threshold) -> dict:
    return metrics.binary_scores(_last(scores), [int(d["correct"]) for d in drafts], threshold)


def _refine(drafts, refined) -> dict:
    right = np.array([d["correct"] for d in drafts], bool)
    after = {
        k: np.array([r[k]["correct"] for r in refined], bool)
        for k in ("global", "local_orm", "local_sorm")
    }
    after["union_orm"], after["union_sorm"] = (
        after["global"] | after["local_orm"],
        after["global"] | after["local_sorm"],
    )
    out = {}
    for kind, fixed in after.items():
        out[kind] = {
            "fix_rate": float(fixed[~right].mean()) if (~right).any() else None,
            "n_wrong": int((~right).sum()),
            "break_rate": float((~fixed[right]).mean()) if right.any() else None,
            "n_right": int(right.sum()),
            "all_acc": float(fixed.mean()),
            "oracle_when_acc": float((right | fixed).mean()),
            "n": len(drafts),
        }
    return out


def _pipeline(drafts, refined, finals, orm) -> dict:
    """The draft competes with its global and its SORM-located local refinement; the ORM's final score decides."""
    rows = [_candidates(*row) for row in zip(drafts, refined, finals, _last(orm), strict=True)]
    chosen = [max(row, key=lambda c: c[1])[2] for row in rows]
    return {
        "rerank": {"acc": float(np.mean(chosen)), "n": len(rows)},
        "oracle": {"acc": float(np.mean([any(c[2] for c in row) for row in rows])), "n": len(rows)},
    }


def _candidates(draft, refined, final, draft_score):
    """(name, ORM score, correct), the draft first: it wins ties."""
    return [
        ("draft", draft_score, draft["correct"]),
        ("global", final["global"], refined["global"]["correct"]),
        ("local", final["local_sorm"], refined["local_sorm"]["correct"]),
    ]


def _samples(ctx, samples, scores, figures) -> dict:
    """Figures of K samples a question: student.*, scorer.*, best-of-3 and the rerank curves."""
    k = ctx.config.evaluate.k
    groups: dict[str, list[int]] = {}
    for i, s in enumerate(samples):
        groups.setdefault(s["question_id"], []).append(i)
    groups = {q: sorted(g, key=lambda i: samples[i]["sample_id"]) for q, g in groups.items()}
    finals = {m: _last(scores[m]) for m in scores} | {"loglik": [s["logprob"] for s in samples]}

    def rows(values):
        return [[values[i] for i in g] for g in groups.values()]

    correct = rows([bool(s["correct"]) for s in samples])
    answers = rows([s["answer"] for s in samples])
    gold = [samples[g[0]]["gold"] for g in groups.values()]
    votes = [selection.majority_vote(a) for a in answers]
    right = [
        v is not None and ctx.task.grade([f"#### {v}"], x) for v, x in zip(votes, gold, strict=True)
    ]

    def best(name):
        return float(
            np.mean(
                [c[int(np.argmax(s))] for s, c in zip(rows(finals[name]), correct, strict=True)]
            )
        )

    ks = [1 << i for i in range(int(math.log2(k)) + 1)] + ([] if k & (k - 1) == 0 else [k])
    curves = {
        m: selection.rerank_curves(rows(finals[m]), correct, answers, ks, 100, ctx.config.seed)
        for m in finals
    }
    bo3 = selection.rerank_curves(
        rows(finals["orm"]), correct, answers, [min(3, k)], 400, ctx.config.seed
    )
    scorer = {}
    for m in finals:
        within, n = metrics.within_pair_accuracy(zip(rows(finals[m]), correct, strict=True))
        auc, n_auc = metrics.auc(finals[m], [int(s["correct"]) for s in samples])
        scorer[m] = {"within_pair": within, "n": n, "auc": auc, "n_auc": n_auc}
    pipeline = {
        "bo3": {"acc": bo3["rerank"]["mean"][0], "n": len(groups)},
        "bo3_oracle": {"acc": bo3["pass"]["mean"][0], "n": len(groups)},
    }
    return {
        "scorer": scorer,
        "student": {
            "K": k,
            "n": len(groups),
            "maj1": figures["draft"]["acc"],
            "mean1": float(np.mean([np.mean(c) for c in correct])),
            "majK": float(np.mean(right)),
            "passK": float(np.mean([any(c) for c in correct])),
            "rerankK": best("orm"),
            "rerankK_sorm": best("sorm"),
            "loglikK": best("loglik"),
            "truncated": sum(not s["ended"] for s in samples),
        },
        "pipeline": figures["pipeline"] | pipeline,
        "curves": figures["curves"]
        | {
            "rerank": {
                "k": ks,
                "pass": curves["orm"]["pass"],
                "majority": curves["orm"]["majority"],
                **{m: curves[m]["rerank"] for m in finals},
            }
        },
    }


def _calibration(scores, reference) -> dict:
    reliability, histograms = {}, {}
    for m, values in scores.items():
        p, y = _flat(values, reference)
        bins = [b for b in metrics.reliability(p, y)["bins"] if b["n"]]
        reliability[m] = {
            "p": [b["prob"] for b in bins],
            "rate": [b["rate"] for b in bins],
            "n": [b["n"] for b in bins],
        }
        histograms[m] = {
            side: metrics.histogram01([a for a, b in zip(p, y, strict=True) if b == want])["counts"]
            for side, want in (("right", 1), ("wrong", 0))
        }
    return {"reliability": reliability, "scores": histograms}


def _examples(drafts, refined, finals, scores, truth) -> list[dict]:
    out = []
    for i, (d, r, f) in enumerate(zip(drafts, refined, finals, strict=True)):
        row = _candidates(d, r, f, _last([scores["orm"][i]])[0])
        name, _, good = max(row, key=lambda c: c[1])
        out.append(
            {
                "question_id": d["question_id"],
                "question": d["question"],
                "gold": d["gold"],
                "draft": d["steps"],
                "draft_correct": d["correct"],
                "truth": truth[i],
                "orm": scores["orm"][i],
                "sorm": scores["sorm"][i],
                "bad": r["local_sorm"]["bad"],
                "global": r["global"]["steps"],
                "global_correct": r["global"]["correct"],
                "local": r["local_sorm"]["steps"],
                "local_correct": r["local_sorm"]["correct"],
                "scores": {n: s for n, s, _ in row},
                "choice": name,
                "choice_correct": good,
            }
        )
    return out
