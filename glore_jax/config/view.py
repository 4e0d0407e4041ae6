"""What one reader may see of a config: what it declares, and all fields of speed and place."""

from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from glore_jax.config.fields import Effect
from glore_jax.config.schema import effect_of


class UndeclaredField(LookupError):
    """A stage read a field that it does not declare: its files would not become stale with it.

    A mistake of the program. It is neither a KeyError nor an AttributeError, which `get`, `in` and
    `hasattr` would take for the absence of a field.
    """


class View(Mapping):
    """`config`, read only, as far as `declared` goes; the reading half of a `ConfigDict`.

    A section can always be entered. A field in it can be read if it, or a section around it, is
    declared, or if it changes nothing but speed and place; otherwise `UndeclaredField` is raised.

    Args:
      config: the whole config, or the section `prefix` of it.
      reader: who reads, for the error.
      declared: dotted names of fields and sections, from the root of the whole config.
      prefix: dotted name of `config` in the whole one, with a dot at its end; empty for the whole.
    """

    def __init__(
        self, config: ConfigDict, reader: str, declared: tuple[str, ...], prefix: str = ""
    ):
        self._config = config
        self._reader = reader
        self._declared = declared
        self._prefix = prefix
        self._seen: dict[str, Any] = {}  # some loops read a field for every token

    def __getitem__(self, name: str) -> Any:
        if name not in self._seen:
            self._seen[name] = self._read(name)
        return self._seen[name]

    def _read(self, name: str) -> Any:
        if name not in self._config:
            raise KeyError(name)
        value = self._config[name]
        full = self._prefix + name
        if isinstance(value, ConfigDict):
            return View(value, self._reader, self._declared, f"{full}.")
        if not self._may_read(full):
            raise UndeclaredField(
                f"stage {self._reader} reads config.{full}, which it does not declare: add it to "
                "the stage's declaration in glore_jax/stages/__init__.py"
            )
        return value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # copy and pickle ask for such before __init__ has run
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the config has no field {self._prefix}{name}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            raise TypeError(f"config.{self._prefix}{name} cannot be set: a stage only reads")
        super().__setattr__(name, value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._config)

    def __len__(self) -> int:
        return len(self._config)

    def to_dict(self) -> dict[str, Any]:
        """All of it as nested dicts; `UndeclaredField` if some of it may not be read."""
        return {k: v.to_dict() if isinstance(v, View) else v for k, v in self.items()}

    def _may_read(self, full: str) -> bool:
        if effect_of(full) in (Effect.SPEED, Effect.PARTS):
            return True
        return any(full == name or full.startswith(f"{name}.") for name in self._declared)


# A config or a section of one, for whoever only reads: inside a running pipeline it is a `View`.
AnyConfig = ConfigDict | View
