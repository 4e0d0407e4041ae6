"""Models of the Hugging Face hub: `hf://ORG/NAME[@REVISION]` becomes a folder of its cache, and a
folder a model of the hub.

The cache is that of `huggingface_hub`, shared with every other tool; HF_HOME, HF_ENDPOINT, HF_TOKEN
and HF_HUB_OFFLINE mean what they mean there.
"""

import os
import re

from etils import epath

from glore_jax.errors import UserError
from glore_jax.models import hf_auto
from glore_jax.parallel import coordinator

SCHEME = "hf://"
_NAME = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# What a model consists of; `consolidated` files are the same weights once more.
_WANTED = ["*.safetensors", "*.json", "*.model", "*.txt", "*.jinja", "*.tiktoken", "README.md"]
_UNWANTED = ["*/*", "consolidated*"]


def fetch(name: str, weights: bool = True) -> str:
    """The local folder of a model, its files filled in.

    Process 0 finds out which commit a branch or a tag means; all processes call it together, and
    get that one.

    Args:
      name: hf://ORG/NAME[@REVISION], a branch, tag or commit.
      weights: False: of its files config.json and README.md alone have to be there.

    Raises:
      UserError: a malformed name, no such model or revision, no access to it, or no network and not
        in the cache.
    """
    if not _COMMIT.fullmatch(_parts(name)[1] or ""):
        name = coordinator.from_main(f"commit of {name}", lambda: pin(name))
    return _download(name, weights)


def pin(name: str) -> str:
    """The same model at the commit that its revision means today. Errors as above."""
    repo, _ = _parts(name)
    return f"{SCHEME}{repo}@{os.path.basename(_download(name, weights=False))}"


def same_model(name: str, other: str) -> bool:
    """Whether both are one model of the hub, whatever their revisions."""
    both = name.startswith(SCHEME) and other.startswith(SCHEME)
    return both and _parts(name)[0] == _parts(other)[0]


def has_revision(name: str) -> bool:
    """Whether a model of the hub is named with a revision."""
    return _parts(name)[1] is not None


def check_target(name: str) -> None:
    """UserError unless something can be pushed to `name`: hf://ORG/NAME."""
    if has_revision(name):
        raise UserError(f"{name}: what is pushed becomes the newest revision: leave @... out")


def push(name: str, folder: epath.Path, private: bool = False) -> str:
    """Makes the files of `folder`, on a disk, the newest revision of a model; a line that says so.

    The model is made if there is none; files of earlier revisions go. private: nobody else may see
    it. UserError without a token that may write there, if the hub cannot be reached or refuses, or
    if the model is there and public.
    """
    from huggingface_hub import HfApi

    check_target(name)
    repo, _ = _parts(name)
    hub = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        hub.create_repo(repo, private=private, exist_ok=True)
        if private and not hub.model_info(repo).private:
            raise UserError(f"{name} is there already, and public: name another model")
        pushed = hub.upload_folder(
            repo_id=repo,
            folder_path=os.fspath(folder),
            commit_message="glore publish",
            delete_patterns="*",
        )
    except UserError:
        raise
    except Exception as error:  # of the hub's library and of the one that speaks HTTP for it
        why = "not pushed; it takes a network and a token that may write there (hf auth login)"
        raise UserError(f"{name}: {why}: {hf_auto.one_line(error)}") from error
    return f"{name}@{pushed.oid}"


def _parts(name: str) -> tuple[str, str | None]:
    """(ORG/NAME, revision)."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise UserError(f"{name}: a model of the hub is written hf://ORG/NAME or hf://ORG/NAME@REV")
    return match["repo"], match["revision"]


def _download(name: str, weights: bool) -> str:
    from huggingface_hub import errors, snapshot_download

    repo, revision = _parts(name)
    try:
        return snapshot_download(
            repo,
            revision=revision,
            allow_patterns=_WANTED if weights else ["config.json", "README.md"],
            ignore_patterns=_UNWANTED,
            endpoint=os.environ.get("HF_ENDPOINT"),
        )
    except errors.GatedRepoError as error:
        why = "its owners give access on request: ask on its page, then run hf auth login"
        raise UserError(f"{name}: {why}") from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(f"{name}: no such model, or a private one: run hf auth login") from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{name}: the model has no such revision") from error
    except errors.LocalEntryNotFoundError as error:
        why = "not in the cache of this machine, and the hub cannot be reached or is switched off"
        raise UserError(f"{name}: {why} ({hf_auto.one_line(error)})") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{name}: {hf_auto.one_line(error)}") from error
