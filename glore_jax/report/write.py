"""Write the report: `report.json`, `report.md`, `report.html` and `plots/*.png` in one folder."""

from collections.abc import Sequence

from etils import epath

from glore_jax import storage
from glore_jax.report import document, plots
from glore_jax.report.examples import WorkedExample
from glore_jax.report.page import page
from glore_jax.report.run_figures import Report


def write(report: Report, examples: Sequence[WorkedExample], folder: epath.PathLike) -> epath.Path:
    """Write the whole report of one run to `folder`, each file atomically.

    Args:
      report: the run's figures; they become report.json. Parts that are missing are left out of the
        report, with a line that says why.
      examples: worked examples for the page, most telling first.
      folder: any path that etils.epath opens; made if missing.

    Returns:
      The path of the page.

    Raises:
      UserError: the folder cannot be written, or the configured column of the paper does not exist.
    """
    results = report.to_json()
    root = storage.path(folder)
    # Everything is made before anything is written: a mistake leaves the old report whole.
    light = plots.draw(results)
    dark = plots.draw(results, dark=True)
    text = document.markdown(results)
    html = page(results, examples, light, dark)
    for name in plots.PLOTS:
        file = root / "plots" / f"{name}.png"
        if name in light:
            storage.write_bytes(file, light[name])
        else:  # of an earlier report
            file.unlink(missing_ok=True)
    storage.write_json(root / "report.json", results)
    storage.write_text(root / "report.md", text)
    storage.write_text(root / "report.html", html)
    return root / "report.html"
