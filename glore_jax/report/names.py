"""Names of models, refinements, rivals and gains for readers, by their keys in the results."""

MODELS = {"orm": "ORM", "balanced_orm": "Balanced ORM", "sorm": "SORM"}

# Those whose marks place [BAD].
LOCATORS = ("orm", "sorm")

# Who can tell a right from a wrong solution.
SCORERS = MODELS | {"loglik": "log-likelihood"}

REFINEMENTS = {
    "global": "Global",
    "local_orm": "Local, E from ORM",
    "local_sorm": "Local, E from SORM",
    "union_orm": "Global ∪ Local (ORM)",
    "union_sorm": "Global ∪ Local (SORM)",
    "base_global": "Untrained base, global",
    "base_local": "Untrained base, from E (SORM)",
}

# Other ways to answer. Those for no fewer tokens than the system are there where two samples beside
# the draft cost less than it.
RIVALS = {
    "bo3": "Best of 3 samples, ORM",
    "greedy2_orm": "Draft and 2 samples, ORM",
    "greedy2_system": "Draft and 2 samples, chosen as the system chooses",
    "greedy2_loglik": "Draft and 2 samples, likeliest",
    "majority3": "Draft and 2 samples, majority",
    "weighted3": "Draft and 2 samples, vote by ORM score",
    "equal_orm": "Draft and samples for no fewer tokens, ORM",
    "equal_system": "Draft and samples for no fewer tokens, chosen as the system chooses",
    "equal_loglik": "Draft and samples for no fewer tokens, likeliest",
    "equal_majority": "Draft and samples for no fewer tokens, majority",
    "equal_weighted": "Draft and samples for no fewer tokens, vote by ORM score",
    "rerank_loglik": "The system's candidates, likeliest",
    "base_refiner": "Untrained base as the refiner, ORM",
    "base_refiner_system": "Untrained base as the refiner, chosen as the system chooses",
    "base_judge": "Untrained base as the judge",
}

# What two ways to answer are compared by, and what else has an interval.
_STEP_GAINS = {
    "sorm_over_orm": "SORM − ORM",
    "sorm_over_majority": "SORM − majority class",
    "orm_over_majority": "ORM − majority class",
    "orm_alarms_over_half": "ORM at .5: false alarms among its wrong calls − half",
    "sorm_alarms_over_half": "SORM at .5: false alarms among its wrong calls − half",
    "orm_alarms_over_sorm": "false alarms among wrong calls at .5, ORM − SORM",
    "found_sorm_over_orm": "first errors found in wrong drafts, SORM − ORM",
}
ANSWER_GAINS = (
    {"rerank_over_draft": "System − draft"}
    | {f"rerank_over_{key}": f"System − {name}" for key, name in RIVALS.items()}
    | {
        "rerank_over_bo3_oracle": "System − best of 3 samples, oracle",
        "oracle_over_rerank": "Oracle choice among the candidates − system",
        "gap_closed": "Share of the gap between draft and oracle that is closed",
    }
)
JUDGE_GAINS = (
    {f"steps_{key}": f"Steps, rollout labels: {name}" for key, name in _STEP_GAINS.items()}
    | {f"truth_{key}": f"Steps, truth: {name}" for key, name in _STEP_GAINS.items()}
    | {
        "final_orm_over_sorm": "Final answers: ORM − SORM",
        "final_orm_over_majority": "Final answers: ORM − majority class",
        "pairs_orm_over_loglik": "Pairs of samples: ORM − log-likelihood",
        "best_of_k_orm_over_sorm": "Best of K samples: ORM − SORM",
    }
)
REFINEMENT_GAINS = {
    "fix_local_sorm_over_local_orm": "Fix rate: local by SORM − local by ORM",
    "fix_global_over_local_sorm": "Fix rate: global − local by SORM",
    "fix_union_sorm_over_global": "Fix rate: union − global",
    "fix_union_sorm_over_local_sorm": "Fix rate: union − local by SORM",
    "fix_global_over_base_global": "Fix rate: global − untrained base, global",
    "fix_local_sorm_over_base_local": "Fix rate: local by SORM − untrained base, from E",
    "every_global_over_draft": "Every draft refined globally − draft",
    "every_local_sorm_over_draft": "Every draft refined locally (SORM) − draft",
    "only_wrong_global_over_draft": "Only wrong drafts refined globally − draft",
    "only_wrong_local_sorm_over_draft": "Only wrong drafts refined locally (SORM) − draft",
}
GAINS = ANSWER_GAINS | JUDGE_GAINS | REFINEMENT_GAINS


def gain(key: str) -> str:
    """The name of the gain `key` of the results; the key itself where it has none."""
    return GAINS.get(key, key)
