"""The report as one HTML page that needs nothing else: no network, no framework, images inside it.

The examples are ordinary HTML, so that they can be read, searched and printed without JavaScript; the script only
shows one at a time. Whatever comes from questions or models is escaped, and a content security policy forbids the
page to load anything.
"""

import base64
import html
import math
import re
from collections.abc import Mapping, Sequence

from glore_jax.report import document, plots, tables
from glore_jax.report.figures import number
from glore_jax.report.page_assets import SCRIPT, STYLE
from glore_jax.report.tables import Table

FILTERS = {"all": "All", "fixed": "Fixed", "broken": "Broken", "wrong": "Choice wrong"}
_NAMES = {"draft": "Draft", "global": "Global refinement", "local": "Local refinement"}

# Steps take the colour of their score: orange below one half, blue above, stronger the further away.
_LOW, _HIGH = "213,94,0", "0,114,178"


def _escape(text: object) -> str:
    return html.escape(str(text), quote=True)


def _prose(text: str) -> str:
    """Escaped text in which `marked` words become code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", _escape(text))


# Figures.


def _table(table: Table, heading: bool) -> str:
    parts = [f"<h3>{_escape(table.title)}</h3>"] if heading else []
    if table.rows:

        def row(cells: Sequence[str], tag: str, ours: bool = False) -> str:
            out = [f'<th scope="{"col" if tag == "th" else "row"}">{_escape(cells[0])}</th>']
            for i, cell in enumerate(cells[1:], start=1):
                kind = "ours" if ours or i in table.ours else "beside" if i == table.beside else ""
                out.append(f"<{tag}{f' class={kind}' if kind else ''}>{_escape(cell)}</{tag}>")
            return f"<tr>{''.join(out)}</tr>"

        body = "".join(
            row(cells, "td", table.our_row and i == 0) for i, cells in enumerate(table.rows)
        )
        parts.append(
            f'<div class="scroll"><table><thead>{row(table.header, "th")}</thead><tbody>{body}</tbody></table></div>'
        )
    if table.note:
        parts.append(f'<p class="note">{_prose(table.note)}</p>')
    return "\n".join(parts)


def _plot(name: str, light: bytes, dark: bytes) -> str:
    plot = plots.PLOTS[name]
    light_uri, dark_uri = (
        f"data:image/png;base64,{base64.b64encode(image).decode()}" for image in (light, dark)
    )
    return (
        f'<figure><picture><source media="(prefers-color-scheme: dark)" srcset="{dark_uri}">'
        f'<img src="{light_uri}" alt="{_escape(plot.title)}: {_escape(plot.caption)}"></picture>'
        f"<figcaption>{_escape(plot.caption)}</figcaption></figure>"
    )


def _tiles(results: Mapping) -> str:
    """The few figures to see first."""
    draft = number(results, "draft.acc")
    shown = []
    for name, path in (
        ("Draft", "draft.acc"),
        ("Best of 3", "pipeline.bo3.acc"),
        ("Reranked", "pipeline.rerank.acc"),
        ("Oracle choice", "pipeline.oracle.acc"),
        ("Global ∪ local fix rate", "refine.union_sorm.fix_rate"),
        ("SORM step accuracy", "step.sorm.acc"),
    ):
        value = number(results, path)
        if value is None:
            continue
        gain = ""
        if draft is not None and path.startswith("pipeline."):
            gain = f"<small>{100 * (value - draft):+.1f} points</small>"
        main = " main" if path == "pipeline.rerank.acc" else ""
        shown.append(f'<div class="tile{main}"><span>{name}</span><b>{value:.1%}</b>{gain}</div>')
    return f'<div class="tiles">{"".join(shown)}</div>' if shown else ""


# Examples.


def outcome(example: Mapping) -> tuple[str, str]:
    """(kinds, sentence): the filters that `example` belongs to, space-separated, and what happened in it."""
    draft, choice = bool(example.get("draft_correct")), bool(example.get("choice_correct"))
    if choice:
        return (
            ("", "Kept: draft and choice are right")
            if draft
            else ("fixed", "Fixed: the draft is wrong, the choice right")
        )
    if draft:
        return "broken wrong", "Broken: the draft is right, the choice wrong"
    if example.get("global_correct") or example.get("local_correct"):
        return "wrong", "Missed: a refinement is right, another solution was chosen"
    return "wrong", "Unsolved: none of the three is right"


def _score(scores: Sequence | None, i: int) -> float | None:
    """Score of step `i`, None where there is none."""
    value = scores[i] if scores is not None and i < len(scores) else None
    return None if value is None or not math.isfinite(value) else float(value)


def _two(value: float | None) -> str:
    return tables.NONE if value is None else f"{value:.2f}"


def _text(step: str) -> str:
    """A step, escaped, its calculator marks set back."""
    return re.sub(
        r"&lt;&lt;(.*?)&gt;&gt;", r'<span class="calc">&lt;&lt;\1&gt;&gt;</span>', _escape(step)
    )


def _draft_steps(example: Mapping) -> str:
    """The draft's steps in the colour of their SORM score, with [BAD] where the local refiner sees it."""
    truth, bad = example.get("truth"), example.get("bad")
    rows = []
    for i, step in enumerate(example.get("draft") or ()):
        sorm, orm = _score(example.get("sorm"), i), _score(example.get("orm"), i)
        style = ""
        if sorm is not None:
            hue, weight = (_LOW, 1 - 2 * sorm) if sorm < 0.5 else (_HIGH, 2 * sorm - 1)
            style = f' style="--tint:rgba({hue},{0.34 * weight:.3f});--edge:rgba({hue},{0.15 + 0.85 * weight:.3f})"'
        known = truth[i] if truth is not None and i < len(truth) else None
        tip = f"Step {i + 1}: SORM {_two(sorm)}, ORM {_two(orm)}"
        tip += "" if known is None else f", truly {'right' if known else 'wrong'}"
        mark = '<b class="bad">[BAD]</b> ' if bad is not None and bad == i else ""
        cells = f'<td class="step">{mark}{_text(step)}</td><td>{_two(sorm)}</td><td class="quiet">{_two(orm)}</td>'
        if truth is not None:
            word = tables.NONE if known is None else "right" if known else "wrong"
            cells += f'<td class="{word if known is not None else "quiet"}">{word}</td>'
        rows.append(f'<tr title="{_escape(tip)}"{style}><th scope="row">{i + 1}</th>{cells}</tr>')
    if not rows:
        return '<p class="note">The draft is empty.</p>'
    head = f'<tr><th></th><th class="step">step</th><th>SORM</th><th class="orm-head">ORM</th>{"<th>truth</th>" * (truth is not None)}</tr>'
    return f'<table class="steps"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'


def _refined_steps(steps: Sequence[str] | None, draft: Sequence[str]) -> str:
    """A refinement's steps; those it shares with the draft at the same place stand back."""
    if not steps:
        return '<p class="note">Empty.</p>'
    items = []
    for i, step in enumerate(steps):
        same = (
            ' class="same" title="as in the draft"' if i < len(draft) and draft[i] == step else ""
        )
        items.append(f"<li{same}>{_text(step)}</li>")
    return f"<ol>{''.join(items)}</ol>"


def _solution(example: Mapping, key: str, body: str) -> str:
    """One of the three solutions with its verdict, its ORM score and whether it was chosen."""
    right, chosen = example.get(f"{key}_correct"), example.get("choice") == key
    score = _score([(example.get("scores") or {}).get(key)], 0)
    verdict = (
        ""
        if right is None
        else f'<span class="{"right" if right else "wrong"}">{"right" if right else "wrong"}</span>'
    )
    meter = (
        ""
        if score is None
        else f'<span class="meter"><i style="width:{100 * min(max(score, 0), 1):.0f}%"></i></span>'
    )
    return (
        f'<section class="solution{" chosen" if chosen else ""}"><header><h4>{_NAMES[key]}</h4>{verdict}'
        f"{'<span class=pick>chosen</span>' if chosen else ''}"
        f'<span class="orm" title="ORM score of the last step">ORM {_two(score)} {meter}</span></header>{body}</section>'
    )


def _example(example: Mapping, index: int) -> str:
    kinds, sentence = outcome(example)
    draft = example.get("draft") or []
    refined = "".join(
        _solution(example, key, _refined_steps(example[key], draft))
        for key in ("global", "local")
        if example.get(key) is not None
    )
    flagged = (
        ""
        if example.get("bad") is not None
        else '<p class="note">No step is flagged, so there is no [BAD].</p>'
    )
    return (
        f'<article class="example" id="example-{index}" data-kinds="{kinds}"><header>'
        f'<a href="#example-{index}">{_escape(example.get("question_id", index))}</a>'
        f'<span class="outcome {kinds.split()[0] if kinds else "kept"}">{sentence}</span></header>'
        f'<p class="question">{_escape(example.get("question", ""))}</p>'
        f'<p class="gold">Right answer: <b>{_escape(example.get("gold", tables.NONE))}</b></p>'
        f"{_solution(example, 'draft', _draft_steps(example) + flagged)}"
        f'<div class="refined">{refined}</div></article>'
    )


def _examples(examples: Sequence[Mapping]) -> str:
    intro = (
        '<section id="examples"><h2>Worked examples</h2>'
        "<p>Each step of the draft has the colour of its SORM score, the probability that the right answer can still be "
        'reached from it. <b class="bad">[BAD]</b> stands before the first step whose score is no higher than <code>evaluate.mark</code>; the local refiner '
        "rewrites from it. Steps of a refinement in grey are the draft's own. The solution with the highest ORM score at "
        "its last step is chosen.</p>"
    )
    if not examples:
        return f'{intro}<p class="note">Left out: examples (the run recorded none).</p></section>'
    kinds = [outcome(example)[0].split() for example in examples]
    buttons = []
    for key, name in FILTERS.items():
        n = sum(key == "all" or key in kind for kind in kinds)
        pressed = "true" if key == "all" else "false"
        buttons.append(
            f'<button type="button" data-filter="{key}" aria-pressed="{pressed}">{name} <small>{n}</small></button>'
        )
    bar = (
        f'<div class="bar" hidden><div class="filters" role="group" aria-label="Which examples">{"".join(buttons)}</div>'
        '<div class="turn"><button type="button" data-turn="-1" aria-label="previous example">←</button>'
        '<span id="place" aria-live="polite"></span>'
        '<button type="button" data-turn="1" aria-label="next example">→</button></div></div>'
        '<div class="scale"><span>SORM 0</span><i></i><span>1</span><span class="hint">arrow keys turn the pages</span></div>'
    )
    cards = "\n".join(_example(example, i) for i, example in enumerate(examples, start=1))
    none = '<p class="note" id="none" hidden>No example of this kind.</p>'
    return f"{intro}{bar}{none}{cards}</section>"


def page(
    results: Mapping,
    examples: Sequence[Mapping],
    light: Mapping[str, bytes],
    dark: Mapping[str, bytes],
) -> str:
    """The whole page.

    Args:
      results: the run's figures, as in report.json.
      examples: worked examples; all of them are on the page.
      light, dark: PNG bytes of the plots by name for either colour scheme, from `plots.draw`.
    """
    body, links = [], []
    for section in document.sections(results):
        links.append(f'<a href="#{section.anchor}">{_escape(section.title)}</a>')
        figures = "".join(
            _plot(name, light[name], dark[name]) for name in section.plots if name in light
        )
        reasons = [reason for name in section.plots if (reason := plots.missing(name, results))]
        parts = [f'<section id="{section.anchor}"><h2>{_escape(section.title)}</h2>']
        parts.append(f"<p>{_prose(section.lead)}</p>" if section.lead else "")
        parts.append(_tiles(results) if section.anchor == "result" else "")
        parts.append(f'<div class="figures">{figures}</div>' if figures else "")
        parts += [f'<p class="note">{_prose(reason)}</p>' for reason in reasons]
        parts += [_table(table, heading=table.title != section.title) for table in section.tables]
        body.append("\n".join(filter(None, [*parts, "</section>"])))
    links.append('<a href="#examples">Examples</a>')
    title = _escape(document.title(results))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<nav>{"".join(links)}</nav>
<main>
<h1>{title}</h1>
<p class="about">{_prose(document.about(results))}</p>
{chr(10).join(body)}
{_examples(examples)}
</main>
<script>{SCRIPT}</script>
</body>
</html>
"""
