"""The line that ends a command which cannot go on."""

import pytest
from absl import flags

from glore_jax import command
from glore_jax.errors import UserError


def test_the_last_line_and_the_code(capsys):
    assert command.end("error: no space", 2) == 2
    assert capsys.readouterr() == ("", "glore: error: no space\n")


class Flags:
    """Stands for absl's flags: parsing raises, or gives the rest of the command line."""

    config = None

    def __init__(self, found):
        self.found = found

    def __call__(self, argv):
        if isinstance(self.found, BaseException):
            raise self.found
        return self.found


@pytest.mark.parametrize(
    "error, line",
    [
        (UserError("row 7 is malformed"), "row 7 is malformed"),
        (flags.Error("no such flag"), "no such flag"),
        (
            KeyError("'rollot' Did you mean 'rollout'?"),
            "--config.rollot.k=3: the config has no field 'rollot'. Did you mean 'rollout'?",
        ),
        (
            FileNotFoundError(2, "No such file", "configs/none.py"),
            "[Errno 2] No such file: 'configs/none.py'",
        ),
        (ValueError("first\n  in the middle\n  last"), "first last"),
        (
            SyntaxError("invalid syntax", ("configs/x.py", 3, 1, "c =")),
            "configs/x.py:3: invalid syntax",
        ),
    ],
)
def test_mistakes_in_flags_are_one_line(error, line, monkeypatch, capsys):
    monkeypatch.setattr(command, "FLAGS", Flags(error))
    with pytest.raises(SystemExit) as ended:
        command.parse(["glore", "--config.rollot.k=3"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"glore: error: {line}\n"


def test_help_is_no_error(monkeypatch):
    monkeypatch.setattr(command, "FLAGS", Flags(SystemExit(1)))
    with pytest.raises(SystemExit) as ended:
        command.parse(["glore", "--help"])
    assert ended.value.code == 0


def test_the_rest_of_the_line_is_handed_on(monkeypatch):
    monkeypatch.setattr(command, "FLAGS", Flags(["glore", "extra"]))
    assert command.parse(["glore", "extra"]) == ["glore", "extra"]
