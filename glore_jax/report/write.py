"""Write the report: `report.json`, `report.md`, `report.html` and `plots/*.png` in one folder."""

from collections.abc import Mapping, Sequence

from etils import epath

from glore_jax import storage
from glore_jax.report import document, plots
from glore_jax.report.figures import check
from glore_jax.report.page import page


def write(results: Mapping, examples: Sequence[Mapping], folder: epath.PathLike) -> epath.Path:
    """Write the whole report of one run to `folder`, each file atomically; returns the path of the page.

    Args:
      results: the run's figures as plain JSON values (rates in 0..1 with their counts); they become report.json as
        they are. Parts that are missing are left out of the report, with a line that says why.
      examples: worked examples for the page, most telling first.
      folder: any path that etils.epath opens; made if missing.

    Raises:
      ValueError: a rate lies outside 0..1 or lacks its count. Nothing is written then.
      UserError: the folder cannot be written, or the configured column of the paper does not exist.
    """
    check(results)
    root = storage.path(folder)
    light, dark = plots.draw(results), plots.draw(results, dark=True)
    text, html = document.markdown(results), page(results, examples, light, dark)
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
