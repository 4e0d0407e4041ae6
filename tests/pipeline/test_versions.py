"""Of which commit the package says that it is."""

import subprocess

from glore_jax.pipeline import versions


def test_a_copied_checkout_has_its_commit_in_a_file(tmp_path):
    (tmp_path / "COMMIT").write_text("0123abcd\n")
    assert versions._commit_of(tmp_path) == "0123abcd"


def test_where_git_is_it_is_asked(tmp_path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "COMMIT").write_text("another\n")
    (tmp_path / "code").write_text("")
    for command in (["init", "-q"], ["add", "code"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert versions._commit_of(tmp_path) == head.stdout.strip()
    (tmp_path / "code").write_text("changed")
    assert versions._commit_of(tmp_path) == f"{head.stdout.strip()}-dirty"
