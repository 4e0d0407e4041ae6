"""Prints docs/config.md: `python -m glore_jax.config > docs/config.md`."""

from glore_jax.config.document import document

if __name__ == "__main__":
    print(document(), end="")
