"""The figures of the paper (Havrilla et al., "GLoRe", arXiv 2402.10963) that stand beside ours.

One `PaperTable` per table or chart of the paper. Its rows are keyed by the path of our figure that
they stand beside (`step.sorm.acc`, see `reading.py`), so that no table of ours needs a second list
of names. Charts print no numbers: theirs were read off with a ruler and carry `approximate`, which
the report shows as `≈`.
"""

import dataclasses
from collections.abc import Mapping

from glore_jax.errors import UserError
from glore_jax.report.reading import Results

# Task and size of the Llama-2 base.
COLUMNS = ("GSM8K 7B", "GSM8K 13B", "SVAMP 7B", "SVAMP 13B")
ORIENTATION = "GSM8K 7B"  # shown beside a task that the paper does not have


@dataclasses.dataclass(frozen=True)
class PaperTable:
    """Figures of one table or chart: `rows[path]` holds one value for each of `COLUMNS`."""

    source: str
    rows: Mapping[str, tuple[float, float, float, float]]
    approximate: bool = False

    def value(self, path: str, column: str) -> float | None:
        """The paper's figure for ours at `path` in `column`; None where the paper has none."""
        row = self.rows.get(path)
        return None if row is None else row[COLUMNS.index(column)]

    def text(self, path: str, column: str) -> str:
        """The same as it is shown: two or three decimals, `≈` if read off a chart, else a dash."""
        value = self.value(path, column)
        if value is None:
            return "–"
        return f"≈{value:.3f}" if self.approximate else digits(value)


def digits(value: float) -> str:
    """Two decimals where they hold the whole value, else three."""
    return f"{value:.2f}" if round(value, 2) == value else f"{value:.3f}"


def column(results: Results) -> str:
    """The column of the paper that stands beside this run; GSM8K 7B if none was chosen.

    Raises UserError if the configured name is none of the paper's columns.
    """
    chosen = results.get("paper_column") or ORIENTATION
    if chosen not in COLUMNS:
        raise UserError(
            f"report.paper_column is {chosen!r}; set it to one of {', '.join(COLUMNS)}, "
            "or leave it empty"
        )
    return chosen


TABLE_1 = PaperTable(
    "Table 1",
    {
        "step.orm.acc": (0.74, 0.73, 0.77, 0.85),
        "step.balanced_orm.acc": (0.73, 0.74, 0.77, 0.83),
        "step.sorm.acc": (0.79, 0.81, 0.78, 0.87),
    },
)

TABLE_2 = PaperTable(
    "Table 2",
    {
        "final.orm.acc": (0.82, 0.85, 0.75, 0.82),
        "final.balanced_orm.acc": (0.80, 0.82, 0.73, 0.79),
        "final.sorm.acc": (0.79, 0.80, 0.74, 0.79),
    },
)

TABLE_3 = PaperTable(
    "Table 3",
    {
        "refine.global.fix_rate": (0.203, 0.281, 0.14, 0.255),
        "refine.local_orm.fix_rate": (0.182, 0.262, 0.09, 0.229),
        "refine.local_sorm.fix_rate": (0.211, 0.283, 0.11, 0.237),
        "refine.union_orm.fix_rate": (0.252, 0.384, 0.173, 0.35),
        "refine.union_sorm.fix_rate": (0.280, 0.412, 0.19, 0.37),
    },
)

# The students whose drafts the paper refines (EI after 2 rounds on GSM8K, 5 on SVAMP); K is 96.
TABLE_5 = PaperTable(
    "Table 5",
    {
        "draft.acc": (0.485, 0.53, 0.58, 0.69),  # drafts are greedy, so this is maj@1
        "student.maj1": (0.485, 0.53, 0.58, 0.69),
        "student.majK": (0.55, 0.59, 0.60, 0.75),
        "student.rerankK": (0.64, 0.71, 0.62, 0.78),
        "student.passK": (0.80, 0.88, 0.70, 0.93),
    },
)
TABLE_5_K = 96
# Table 5 also has the students before expert iteration, on GSM8K alone:
# maj@1, maj@96, rerank@96, pass@96.
TABLE_5_SFT = {"GSM8K 7B": (0.41, 0.47, 0.54, 0.72), "GSM8K 13B": (0.48, 0.55, 0.68, 0.84)}

# Figure 4: accuracy of the best of K by score, 7B SFT student on GSM8K (greedy 0.366).
FIGURE_4_K = (8, 16, 32, 64, 96)
FIGURE_4 = {
    "pass": (0.589, 0.647, 0.695, 0.742, 0.762),
    "orm": (0.497, 0.514, 0.540, 0.556, 0.559),
    "balanced_orm": (0.500, 0.532, 0.549, 0.553, 0.558),
    # Labels balanced per prefix length, consistent rollouts only.
    "sorm": (0.485, 0.506, 0.528, 0.536, 0.539),
    "sorm_balanced": (0.484, 0.515, 0.522, 0.523, 0.521),
    "sorm_raw": (0.485, 0.505, 0.513, 0.515, 0.513),
}

FIGURE_5 = PaperTable(
    "Figure 5",
    {
        "draft.acc": (0.485, 0.529, 0.580, 0.680),
        "refine.global.all_acc": (0.464, 0.533, 0.585, 0.691),
        "refine.local_orm.all_acc": (0.481, 0.524, 0.572, 0.678),
        "refine.local_sorm.all_acc": (0.503, 0.540, 0.575, 0.686),
        "refine.global.oracle_when_acc": (0.584, 0.637, 0.640, 0.781),
        "refine.local_orm.oracle_when_acc": (0.556, 0.623, 0.618, 0.767),
        "refine.local_sorm.oracle_when_acc": (0.591, 0.646, 0.621, 0.770),
    },
    approximate=True,
)

FIGURE_6 = PaperTable(
    "Figure 6",
    {
        "draft.acc": (0.485, 0.529, 0.579, 0.678),
        "pipeline.bo3.acc": (0.547, 0.563, 0.609, 0.759),
        "pipeline.rerank.acc": (0.582, 0.641, 0.630, 0.749),
        "pipeline.bo3_oracle.acc": (0.559, 0.600, 0.639, 0.809),
        "pipeline.oracle.acc": (0.618, 0.710, 0.678, 0.809),
    },
    approximate=True,
)

# Appendix G: 257 steps of 64 GSM8K solutions, labelled by hand, compared with the rollout labels.
LABEL_AGREEMENT = 0.94
