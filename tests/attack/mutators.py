"""All mutators: importing this module enters them in `GRAMMARS`."""

from __future__ import annotations

from tests.attack import mutate_archives, mutate_binary, mutate_text
from tests.attack.grammars import GRAMMARS, Mutator

__all__ = ["GRAMMARS", "Mutator", "mutate_archives", "mutate_binary", "mutate_text"]
