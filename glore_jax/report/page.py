"""The report as one HTML page that needs nothing else: no network, no framework, images inside it.

The page is laid out by `templates/`, with the style sheets and the script of `static/` copied into
it. The examples are ordinary HTML, so that they can be read, searched and printed without
JavaScript; the script only shows one at a time. Whatever comes from questions or models is escaped
by the templates, and a content security policy forbids the page to load anything.
"""

import base64
import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from importlib import resources

import jinja2
import markupsafe

from glore_jax.report import document, examples, headline, plots, system
from glore_jax.report.document import Section
from glore_jax.report.examples import WorkedExample
from glore_jax.report.names import LOCATORS, RIVALS
from glore_jax.report.reading import Difference, Results, difference, in_force, number

PACKAGE = "glore_jax.report"


@dataclasses.dataclass(frozen=True)
class Tile:
    """One large figure; what stands below it may be empty, `main` is the system's own."""

    name: str
    value: str
    below: str
    main: bool = False


@dataclasses.dataclass(frozen=True)
class Image:
    """One plot in either colour scheme, as data URIs."""

    title: str
    caption: str
    light: str
    dark: str


@dataclasses.dataclass(frozen=True)
class PageSection:
    """A section with what its plots became: images, or reasons why one is left out."""

    section: Section
    tiles: Sequence[Tile]
    images: Sequence[Image]
    reasons: Sequence[str]


def page(
    results: Results,
    worked: Sequence[WorkedExample],
    light: Mapping[str, bytes],
    dark: Mapping[str, bytes],
) -> str:
    """The whole page.

    Args:
      results: the run's figures, as in report.json.
      worked: worked examples; all of them are on the page.
      light, dark: PNG bytes of the plots by name for either colour scheme, from `plots.draw`.
    """
    template = _environment().get_template("page.html.jinja")
    return template.render(
        title=document.title(results),
        about=document.about(results),
        css=_static("page.css") + _static("examples.css"),
        script=_static("page.js"),
        sections=[_section(s, results, light, dark) for s in document.sections(results)],
        mark=in_force(results, "mark", LOCATORS),
        choice=system.how(results),
        filters=examples.FILTERS,
        filter_counts=examples.filter_counts(worked),
        cards=[examples.card(example, i) for i, example in enumerate(worked, start=1)],
    )


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(PACKAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,  # a name misspelt in a template is an error, not nothing
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = _prose
    environment.filters["calculator"] = _calculator
    return environment


def _static(name: str) -> markupsafe.Markup:
    """A file of the package that goes into the page as it is."""
    file = resources.files(PACKAGE).joinpath("static", name)
    return markupsafe.Markup(file.read_text("utf-8"))


# Filters of the templates.


def _wrapped(pattern: str, before: str, after: str, text: str) -> markupsafe.Markup:
    """`text` escaped, with HTML around what the only group of `pattern` matches."""
    escaped = []
    # With one group in the pattern, every second piece is what the group matched.
    for i, piece in enumerate(re.split(pattern, text)):
        inner = markupsafe.escape(piece)
        escaped.append(f"{before}{inner}{after}" if i % 2 else str(inner))
    return markupsafe.Markup("".join(escaped))


def _prose(text: str) -> markupsafe.Markup:
    """Text in which `marked` words become code."""
    return _wrapped(r"`([^`]+)`", "<code>", "</code>", text)


def _calculator(step: str) -> markupsafe.Markup:
    """A step with its calculator marks, `<<2+3=5>>`, set back."""
    return _wrapped(r"(<<.*?>>)", '<span class="calc">', "</span>", step)


# What the sections hold.


def _section(
    section: Section, results: Results, light: Mapping[str, bytes], dark: Mapping[str, bytes]
) -> PageSection:
    images = [
        _image(name, results, light[name], dark[name]) for name in section.plots if name in light
    ]
    reasons = [plots.missing(name, results) for name in section.plots]
    return PageSection(
        section=section,
        tiles=_tiles(results) if section.anchor == "result" else (),
        images=images,
        reasons=[reason for reason in reasons if reason],
    )


def _image(name: str, results: Results, light: bytes, dark: bytes) -> Image:
    return Image(
        plots.PLOTS[name].title, plots.caption(name, results), _data_uri(light), _data_uri(dark)
    )


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _tiles(results: Results) -> list[Tile]:
    """The few figures to see first; those that the run lacks are left out."""
    rival = headline.best_rival(results)
    gain = difference(results, "rerank_over_draft")
    ahead = difference(results, f"rerank_over_{rival}") if rival else None
    closed = difference(results, "gap_closed")
    n = number(results, "draft.n")
    tiles = [
        ("Draft", "draft.acc", f"{n:,.0f} questions" if n else "", False),
        (
            f"Best rival: {RIVALS[rival]}" if rival else "",
            f"pipeline.{rival}.acc",
            f"system against it {_points(ahead)}" if ahead else "",
            False,
        ),
        (
            "System",
            "pipeline.rerank.acc",
            f"against the draft {_points(gain)}" if gain else "",
            True,
        ),
        (
            "Oracle choice",
            "pipeline.oracle.acc",
            f"the system closes {closed.value:.0%} of the gap" if closed else "",
            False,
        ),
    ]
    return [
        Tile(name, f"{value:.1%}", below, main)
        for name, path, below, main in tiles
        if (value := number(results, path)) is not None
    ]


def _points(gain: Difference) -> str:
    """A gain in per cent points with the ends of its interval."""
    low, high = (f"{100 * end:+.1f}" for end in (gain.low, gain.high))
    return f"{100 * gain.value:+.1f} ({low} to {high})"
