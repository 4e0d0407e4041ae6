"""Names of models and kinds of refinement in tables and plots, by their keys in the results."""

MODELS = {"orm": "ORM", "balanced_orm": "Balanced ORM", "sorm": "SORM"}

# Who can tell a right from a wrong solution.
SCORERS = MODELS | {"loglik": "log-likelihood"}

REFINEMENTS = {
    "global": "Global",
    "local_orm": "Local, E from ORM",
    "local_sorm": "Local, E from SORM",
    "union_orm": "Global ∪ Local (ORM)",
    "union_sorm": "Global ∪ Local (SORM)",
}
