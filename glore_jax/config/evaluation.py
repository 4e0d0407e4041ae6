"""The section `evaluate`: how the whole system is put together and measured on test questions."""

from glore_jax.config.fields import NOT_STATED, Field, Form, section

EVALUATE = section(
    "The whole system on test questions (stage `evaluate`).",
    threshold=Field(
        "auto",
        "A step or a solution whose score is no higher is called wrong; `auto`: for each reward "
        "model what `dev` likes best, for steps and for whole solutions; or a number for all, or "
        "two, for the ORMs and for the SORM.",
        at_least=0,
        at_most=1,
        form=Form.AUTO,
        paper="0.5 (section 5.2)",
    ),
    mark=Field(
        "auto",
        "[BAD] stands before the first step whose score is no higher; `auto`: for each locator "
        "where it best finds the first error of those drafts of `dev` that begin right; or a "
        "number for both, or two, for the ORM and for the SORM.",
        at_least=0,
        at_most=1,
        form=Form.AUTO,
        paper="0.5 (section 5.2), one threshold for both",
    ),
    keep_prefix=Field(
        False,
        "A local refinement begins with the steps before [BAD] instead of writing them again.",
        paper=NOT_STATED,
        plain=False,
    ),
    k=Field(
        96,
        "Samples of a test question for maj@k, pass@k, rerank@k and best-of-3.",
        at_least=1,
        paper="96 (table 5)",
    ),
    temperature=Field(
        "auto",
        "Temperature of these samples; of several numbers, as in 0.4,0.7,1, the one at which "
        "`dev`'s drafts and two samples of each are reranked best; `auto`: of 0.4, 0.7 and 1.",
        above=0,
        form=Form.AUTO,
        paper=NOT_STATED,
        plain="1",
    ),
    max_new=Field(300, "Most new tokens of these samples.", at_least=1, paper=NOT_STATED),
    label_k=Field(
        8,
        "Rollouts of a prefix of a draft of `dev` or of a test question.",
        at_least=1,
        paper="8 (section 4.2)",
    ),
    choose=Field(
        "orm",
        "Who chooses among the candidates: the highest ORM score; the answer with the largest sum "
        "of ORM scores (vote); a weighing of the ORM, the SORM's lowest score and the student's "
        "log-likelihood, fitted on `dev` (combination).",
        choices=("orm", "vote", "combination"),
        paper="orm (section 4.2)",
    ),
    suspects=Field(
        1,
        "Local refinements of a draft by the SORM: at its mark, and with 2 also where its score "
        "falls most.",
        at_least=1,
        at_most=2,
        paper="1 (section 4.2)",
    ),
    backtrack=Field(
        0,
        "Continuations by the student itself from the step before the SORM's mark, as further "
        "candidates.",
        at_least=0,
        paper="0 (section 4.2)",
    ),
    extra_samples=Field(
        0,
        "Samples of the student as further candidates; on a sampled split the first of its `k`.",
        at_least=0,
        paper="0 (section 4.2)",
    ),
    splits=Field(
        ("test",),
        "Test splits of the task that are evaluated; the first one makes the report's figures. "
        "`train` and `dev` are refused: what is learned from or chosen on is no test.",
        form=Form.NAMES,
    ),
    sample_splits=Field(
        ("test",),
        "Those of `splits` whose questions are also sampled and whose drafts get step labels.",
        form=Form.NAMES,
    ),
)
