"""Which files hold the weights of a model, and which tensor lies in which."""

from etils import epath

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.models import gguf_files, weight_files
from glore_jax.models.hf_names import INDEX, WEIGHTS
from glore_jax.models.weight_files import Stored


def tensors(source: epath.Path) -> list[Stored]:
    """The tensors of a folder in Hugging Face form, or of a GGUF file, as they lie there.

    One file is taken before several with an index, as transformers does.

    Raises:
      UserError: no weights, weights in another form, or an index that its files contradict.
    """
    if gguf_files.is_one(source):
        return gguf_files.tensors(source)
    names = set(storage.names(source))
    if WEIGHTS in names:
        return _in_order(weight_files.read_header(source / WEIGHTS))
    if INDEX in names:
        return _indexed(source, names)
    raise UserError(f"{source}: {_why_none(source, names)}")


def _why_none(folder: epath.Path, names: set[str]) -> str:
    """What is said of a folder without weights that we read."""
    if "adapter_config.json" in names:
        return "an adapter without its model; merge it (peft's merge_and_unload) and save the whole"
    if names & {"pytorch_model.bin", "pytorch_model.bin.index.json"}:
        return "has pytorch_model.bin only; transformers' save_pretrained writes safetensors"
    if any(name.startswith("consolidated.") for name in names):
        return "has Meta's or Mistral's own files; take the checkpoint in Hugging Face form"
    if ggufs := sorted(name for name in names if name.endswith(".gguf")):
        return f"no weights but of GGUF files; name the file itself, {folder / ggufs[0]}"
    return f"no weights ({WEIGHTS} or {INDEX})"


def _in_order(inside: dict[str, Stored]) -> list[Stored]:
    return sorted(inside.values(), key=lambda stored: stored.start)


def _indexed(folder: epath.Path, names: set[str]) -> list[Stored]:
    """The tensors of several files, each from the one that the index says."""
    index = storage.read_json(folder / INDEX)
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not all(isinstance(f, str) for f in places.values()):
        raise UserError(f"{folder / INDEX}: has no weight_map")
    found: list[Stored] = []
    for file in dict.fromkeys(places.values()):
        if file not in names:
            raise UserError(
                f"{folder / file}: no such file, but {INDEX} names it; download it again"
            )
        inside = weight_files.read_header(folder / file)
        for name in (name for name, place in places.items() if place == file):
            if name not in inside:
                raise UserError(
                    f"{folder / file}: has no tensor {name}, but {INDEX} says so; download both "
                    "again"
                )
        found += [s for s in _in_order(inside) if places.get(s.name, file) == file]
    return found
