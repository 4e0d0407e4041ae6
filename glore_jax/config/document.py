"""The text of docs/config.md, made from the declarations."""

from collections.abc import Iterator

from glore_jax.config.fields import NO_DEFAULT, Field, Section, declared
from glore_jax.config.schema import ALL, DEFAULT
from glore_jax.config.tasks import COMMON, TASKS

_INTRODUCTION = """\
# Fields of the configuration

Made by `python -m glore_jax.config > docs/config.md`; a test keeps it fresh. Every field is
declared once, in `glore_jax/config/`.

A file in `configs/` starts from `glore_jax.config.default()` and changes what it needs; the
command line overrides single fields, as in `--config.rollout.k=16`. Names are written `a,b`, a pair
of numbers `3,6`. A field that does not exist, a value out of bounds, a split that the task lacks, a
mesh that the devices cannot form: each is told in one line before the first stage runs. Questions
too long for the model's context are left out, counted, and the first one named.

What a change of a field does to a work directory that has files already:

| effect | what happens |
|---|---|
| result | what depends on it runs again; the old files move to `stale/` |
| speed and place | nothing |
| parts | nothing to a finished stage; one that is half done starts again |
| identity | the run is refused: a work directory belongs to one value of it |

"Paper" is the value that the paper states (arXiv 2402.10963) and where, or that it states none. The
variant `paper` of a config (`configs/NAME.py:paper`) has every value that the paper states; what it
takes where the paper states none is in the [last table](#what-the-paper-leaves-open).
"""

_OPEN = """\
## What the paper leaves open

What decides a result and has no stated value: our choice, whatever the variant. The variant `paper`
takes the plainest reading of the text; where there is none, what the config has.

| field | default | `:paper` | meaning |
|---|---|---|---|
"""

_HEADER = (
    "| field | default | meaning | bounds or choices | effect | paper |\n|---|---|---|---|---|---|"
)
_TRAINING = "student.sft"  # all training sections have its fields
_SHARED = ("lr", "min_lr", "batch_size", "epochs")  # but for these, which differ


def document() -> str:
    """docs/config.md as Markdown."""
    blocks = [_INTRODUCTION]
    top = {name: child for name, child in DEFAULT.children.items() if isinstance(child, Field)}
    blocks.append(_table("The run", "", Section("What a work directory is for.", top)))
    for name, child in DEFAULT.children.items():
        if name == "task":
            blocks += _tasks()
        elif isinstance(child, Section):
            blocks += _sections(name, child)
    pretrain = ALL.children["pretrain"]
    assert isinstance(pretrain, Section)
    blocks += _sections("pretrain", pretrain)
    blocks.append(_OPEN + "\n".join(_open_choices()) + "\n")
    return "\n".join(blocks)


def _open_choices() -> list[str]:
    """One row for each field that the paper leaves open; training sections share theirs."""
    rows = []
    for name, whose, field in _fields_once():
        if field.left_open:
            taken = "the same" if field.plain is None else f"`{field.plain}`"
            rows.append(f"| `{name}`{whose} | {_shown(field)} | {taken} | {field.meaning} |")
    return rows


def _fields_once() -> Iterator[tuple[str, str, Field]]:
    """(dotted name, of which task alone, field), what trainings or tasks share only once."""
    for name, child in DEFAULT.children.items():
        if name == "task":
            yield from ((key, "", field) for key, field in declared(Section("", COMMON), "task."))
            for task_name, task in TASKS.items():
                own = {key: f for key, f in task.children.items() if key not in COMMON}
                whose = f" of {task_name}"
                of_task = declared(Section("", own), "task.")
                yield from ((key, whose, field) for key, field in of_task)
            continue
        for full, field in declared(Section("", {name: child})):
            section, _, last = full.rpartition(".")
            if not section.endswith(".train") or last in _SHARED:
                yield full, "", field


def _tasks() -> list[str]:
    """The section `task`: what all tasks share, then what each one adds."""
    shared = Section("Where the problems come from and how a question is put.", COMMON)
    blocks = [_table("`task`", "task.", shared)]
    for name, task in TASKS.items():
        own = {field: child for field, child in task.children.items() if field not in COMMON}
        title = f"`task` of `task.name={name}`"
        blocks.append(_table(title, "task.", Section(task.meaning, own)))
    return blocks


def _sections(name: str, section: Section) -> list[str]:
    """`section`, and a table of its own for each training section below it."""
    plain: dict[str, Field | Section] = {}
    trainings: dict[str, Section] = {}
    for child_name, child in section.children.items():
        if isinstance(child, Section) and "lr" in child.children:
            trainings[child_name] = child
        else:
            plain[child_name] = child
    blocks = [_table(f"`{name}`", f"{name}.", Section(section.meaning, plain, section.each))]
    for child_name, training in trainings.items():
        full = f"{name}.{child_name}"
        meaning = training.meaning
        if full != _TRAINING:
            meaning += f" All other fields are those of `{_TRAINING}`."
            training = Section(meaning, {key: training.children[key] for key in _SHARED})
        blocks.append(_table(f"`{full}`", f"{full}.", training))
    return blocks


def _table(title: str, prefix: str, section: Section) -> str:
    rows = _rows(prefix, section)
    return "\n".join([f"## {title}", "", section.meaning, "", _HEADER, *rows, ""])


def _rows(prefix: str, section: Section) -> list[str]:
    """One row a field; the fields of a section within it follow in its place."""
    rows = []
    children = list(section.children.items())
    if section.each is not None:
        children.append(("NAME", section.each))
    for name, child in children:
        if isinstance(child, Section):
            rows += _rows(f"{prefix}{name}.", child)
        else:
            rows.append(_row(prefix + name, child))
    return rows


def _row(name: str, field: Field) -> str:
    cells = [
        f"`{name}`",
        _shown(field),
        field.meaning,
        field.bounds,
        field.effect.value,
        field.paper,
    ]
    return "| " + " | ".join(cells) + " |"


def _shown(field: Field) -> str:
    if field.default is NO_DEFAULT:
        return ""
    if field.default is None:
        return "none"
    if field.default == "":
        return "empty"
    text = repr(field.default)
    return f"`{text[1:-1]}`" if isinstance(field.default, str) else f"`{text}`"
