"""The page: whole, escaped, free of outside references, with every example and its colours."""

import re
from html.parser import HTMLParser

import pytest

from glore_jax.report.examples import FILTERS, HIGH, LOW
from glore_jax.report.page import page

VOID = {"meta", "img", "source", "br", "link", "input"}


class Reader(HTMLParser):
    """The page as a browser sees it: elements with their attributes and the text inside them."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open: list[dict] = []
        self.elements: list[dict] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {[e['tag'] for e in self.open]}"

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "text": "", **dict(attrs)}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1]["tag"] == tag, f"</{tag}> closes {self.open[-1]['tag']}"
        self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, **wanted) -> list[dict]:
        return [e for e in self.elements if all(self.has(e, k, v) for k, v in wanted.items())]

    @staticmethod
    def has(element: dict, key: str, value: str) -> bool:
        if key == "class_":  # one of several
            return value in (element.get("class") or "").split()
        return element.get(key) == value


@pytest.fixture
def html(results, examples) -> str:
    return page(results, examples, {}, {})


def test_the_page_is_well_formed_and_holds_the_numbers(html):
    reader = Reader(html)
    cells = [e["text"] for e in reader.all(tag="td", class_="ours")]
    for figure in ("0.552", "0.638", "0.366", "0.824", "0.953", "0.475"):
        assert figure in cells
    assert "≈0.582" in [e["text"] for e in reader.all(tag="td", class_="beside")]
    assert [e["text"] for e in reader.all(tag="div", class_="tile")][0] == "Draft55.2%500 questions"


def test_styles_and_script_are_inside(html):
    reader = Reader(html)
    (style,) = reader.all(tag="style")
    (script,) = reader.all(tag="script")
    assert "prefers-color-scheme: dark" in style["text"] and ".example" in style["text"]
    assert "ArrowRight" in script["text"] and "hashchange" in script["text"]
    assert {"src", "href"}.isdisjoint(script.keys() | style.keys())
    assert "&amp;" not in style["text"] + script["text"]  # code, not text: nothing is escaped


def test_nothing_is_loaded_from_outside(written):
    html = written[0].read_text()
    for element in Reader(html).elements:
        for name in ("src", "srcset"):
            if name in element:
                assert element[name].startswith("data:image/png;base64,")
        assert element.get("href", "#").startswith("#")
        assert element["tag"] not in ("link", "iframe", "object", "embed", "form", "base")
    rest = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", html)
    assert not re.search(r"https?:|//[a-z]|url\(|@import|fetch\(|XMLHttpRequest", rest)
    assert "default-src 'none'" in html


def test_every_plot_is_inside_in_both_schemes(written):
    reader = Reader(written[0].read_text())
    images = reader.all(tag="img")
    dark = reader.all(tag="source", media="(prefers-color-scheme: dark)")
    assert len(images) == len(dark) == 8
    assert all(i["src"] != d["srcset"] and i["alt"] for i, d in zip(images, dark, strict=True))


def test_every_example_is_there_word_for_word(html, examples):
    articles = Reader(html).all(tag="article", class_="example")
    assert len(articles) == len(examples)
    for article, example in zip(articles, examples, strict=True):
        for text in (example["question"], example["gold"], example["question_id"]):
            assert text in article["text"]
        for steps in (example["draft"], *(o["steps"] for o in example["others"].values())):
            assert all(step in article["text"] for step in steps)
    assert "<b>more</b>" in articles[0]["text"]  # shown, not obeyed
    assert "<b>more</b>" not in html


def test_text_that_attacks_the_page_is_only_text(results, examples):
    attack = '"><script>alert(1)</script><img src=x onerror=alert(2)> </script> <!-- &lt; <<1+1=2>>'
    example = examples[0] | {
        "question": attack,
        "gold": attack,
        "question_id": attack,
        "draft": [attack],
    }
    example |= {
        "sorm": [0.4],
        "orm": [0.4],
        "truth": None,
        "others": {
            "global": {"steps": [attack, attack], "correct": True},
            "local": {"steps": [attack], "correct": False},
        },
    }
    results["name"] = results["task"] = attack
    reader = Reader(page(results, [example], {}, {}))
    assert len(reader.all(tag="script")) == 1
    assert not reader.all(tag="img")
    assert not any(name.startswith("on") for element in reader.elements for name in element)
    (article,) = reader.all(tag="article")
    assert article["text"].count(attack) == 7


def test_steps_have_the_colour_and_the_number_of_their_score(html, examples):
    rows = [e for e in Reader(html).all(tag="tr") if (e.get("title") or "").startswith("Step ")]
    assert len(rows) == sum(len(example["draft"]) for example in examples)
    good, bad, last = rows[:3]
    assert good["title"] == "Step 1: SORM 0.97, ORM 0.81, truly right"
    assert bad["title"] == "Step 2: SORM 0.23, ORM 0.44, truly wrong"
    assert "0.97" in good["text"] and "0.23" in bad["text"]

    def tint(row):
        hue, alpha = re.search(r"--tint:rgba\((\d+,\d+,\d+),([\d.]+)\)", row["style"]).groups()
        return hue, float(alpha)

    assert tint(good)[0] == HIGH and tint(bad)[0] == tint(last)[0] == LOW
    assert tint(last)[1] > tint(bad)[1] > 0  # the worse the score, the stronger the colour


def test_bad_stands_before_its_step_and_nowhere_else(html, examples):
    articles = Reader(html).all(tag="article")
    for article, example in zip(articles, examples, strict=True):
        flagged = example["bad"] is not None
        assert article["text"].count("[BAD] ") == flagged
        if flagged:
            assert f"[BAD] {example['draft'][example['bad']]}" in article["text"]
        else:
            assert "No step is flagged" in article["text"]


def test_the_choice_and_the_verdicts(html, examples):
    reader = Reader(html)
    solutions = reader.all(tag="section", class_="solution")
    assert len(solutions) == 3 * len(examples)
    for i, example in enumerate(examples):
        three = dict(zip(("draft", "global", "local"), solutions[3 * i : 3 * i + 3], strict=True))
        for key, solution in three.items():
            assert ("chosen" in solution["class"].split()) == (key == example["choice"])
            assert f"ORM {example['scores'][key]:.2f}" in solution["text"]
            other = example["others"].get(key)
            right = example["draft_correct"] if other is None else other["correct"]
            assert ("right" if right else "wrong") in solution["text"]


def test_filters_count_what_they_show(html, examples):
    reader = Reader(html)
    buttons = {
        e["data-filter"]: int(re.search(r"(\d+)$", e["text"])[1])
        for e in reader.elements
        if "data-filter" in e
    }
    assert list(buttons) == list(FILTERS)
    assert buttons["all"] == len(examples)
    fixed = sum(e["choice_correct"] and not e["draft_correct"] for e in examples)
    broken = sum(e["draft_correct"] and not e["choice_correct"] for e in examples)
    wrong = sum(not e["choice_correct"] for e in examples)
    assert buttons["fixed"] == fixed > 0
    assert buttons["broken"] == broken > 0
    assert buttons["wrong"] == wrong > broken
    kinds = [e["data-kinds"].split() for e in reader.all(tag="article")]
    for key in ("fixed", "broken", "wrong"):
        assert sum(key in kind for kind in kinds) == buttons[key]


def test_sparse_examples_are_shown(results):
    example = {
        "question_id": "q",
        "question": "Why?",
        "gold": "1",
        "draft": [],
        "draft_correct": False,
        "truth": None,
        "orm": [],
        "sorm": [],
        "bad": None,
        "others": {"global": {"steps": [], "correct": False}},
        "scores": {"draft": None},
        "choice": "draft",
        "choice_correct": False,
    }
    short = example | {
        "draft": ["a", "b"],
        "sorm": [0.5, float("nan")],
        "orm": None,
        "truth": [True],
    }
    first, second = Reader(page(results, [example, short], {}, {})).all(tag="article")
    assert "The draft is empty." in first["text"] and "ORM –" in first["text"]
    assert "None" not in first["text"] + second["text"] and "nan" not in second["text"]


def test_a_page_without_examples_or_figures_says_so():
    text = Reader(page({}, [], {}, {})).elements[0]["text"]
    assert "Left out: examples (the run recorded none)." in text
    assert "Left out: result" in text
