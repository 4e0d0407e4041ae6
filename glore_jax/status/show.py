"""The status of a run in words: a line of the whole, a line a stage, what is left, warnings."""

from glore_jax.progress.screen import left_text, piece_text
from glore_jax.progress.words import about, duration
from glore_jax.status.found import Found, Verdict

_HEADS = {
    Verdict.DONE: "done",
    Verdict.RUNS: "runs",
    Verdict.STOPPED: "stopped: the same command goes on from there",
    Verdict.FAILED: "ended with an error",
    Verdict.DEAD: "seems dead: the same command goes on from what is there",
}


def show(found: Found) -> str:
    """The text for a person."""
    lines = [f"{found.workdir}: {_HEADS[found.verdict]}"]
    record = found.record
    if record is None:
        lines.append("no record of its progress: nothing says whether it runs")
    else:
        where = f"process {record.process} on {record.host}"
        lines.append(f"last written {about(found.age)} ago by {where}")
        if record.reason:
            lines.append(f"its last words: {record.reason}")
    width = max(map(len, found.manifests), default=0)
    lines += [f"  {name:{width}}  {_stage(found, name)}" for name in found.manifests]
    if record and found.verdict == Verdict.RUNS:
        left = left_text(record)
        lines += [f"left: {left}"] if left else []
    return "\n".join([*lines, *(f"warning: {text}" for text in found.warnings)])


def _stage(found: Found, name: str) -> str:
    record = found.record
    manifest = found.manifests[name]
    if found.is_done(name):
        return f"done in {duration(float(manifest.get('seconds', 0.0)))}"
    if record and record.stage == name and record.code is None:
        piece = record.piece
        doing = piece_text(name, piece) if piece else "between two pieces of work"
        return doing if found.verdict == Verdict.RUNS else f"as of its last record: {doing}"
    return "begun" if manifest and not manifest.get("done") else "to do"
