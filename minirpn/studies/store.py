"""``study.json``: what a study was asked, and what came of each training so far."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from minirpn.errors import InputError
from minirpn.files import one_line_errors, write_json
from minirpn.studies.study import Findings, Outcome, Study, Variant
from minirpn.training.config import MAY_CHANGE_ON_RESUME, TrainConfig
from minirpn.training.tables import NONE, flat, to_table

FORMAT = "minirpn study"
VERSION = 1


class StudyFile:
    """The file of a study, which each outcome is added to as soon as it is there.

    Parameters
    ----------
    path
        ``study.json`` in the study's folder.
    study, base, variants, limit
        What is asked now.

    Raises
    ------
    InputError
        The file cannot be read, is not that of a study, or of a study that was asked otherwise.
    """

    def __init__(
        self,
        path: Path,
        study: Study,
        base: TrainConfig,
        variants: tuple[Variant, ...],
        limit: int | None,
    ) -> None:
        self.path = path
        self._asked: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "study": study.name,
            "limit": limit,
            "variants": {variant.name: dict(variant.settings) for variant in variants},
            "settings": flat(to_table(base)),
        }
        self._findings = Findings(study, base, variants, ())
        # It is not written before there is an outcome: a mistyped flag shall not stand in the way
        # of the next try.
        if path.exists():
            self._read()

    @property
    def findings(self) -> Findings:
        """What came of the study so far."""
        return self._findings

    def has(self, variant: Variant, seed: int) -> bool:
        """Tell whether a training is done and measured."""
        return any((o.variant, o.seed) == (variant.name, seed) for o in self._findings.outcomes)

    def add(self, outcome: Outcome) -> None:
        """Add an outcome; it is on the disk when this returns."""
        found = self._findings
        outcomes = (*found.outcomes, outcome)
        self._findings = Findings(found.study, found.base, found.variants, outcomes)
        self._write()

    def _write(self) -> None:
        outcomes = [outcome.to_dict() for outcome in self._findings.outcomes]
        write_json(self.path, self._asked | {"outcomes": outcomes})

    def _read(self) -> None:
        with one_line_errors(self.path, "read"):
            text = self.path.read_bytes()
        try:
            stored = json.loads(text)
            if stored["format"] != FORMAT or stored["version"] != VERSION:
                raise ValueError("of another format or version")
            self._check_asked(stored)
            outcomes = tuple(Outcome.from_dict(plain) for plain in stored["outcomes"])
        except InputError:
            raise
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise InputError(f"{self.path}: not a whole study: {error!r}") from error
        found = self._findings
        self._findings = Findings(found.study, found.base, found.variants, outcomes)

    def _check_asked(self, stored: Mapping[str, Any]) -> None:
        for name in ("study", "limit", "variants"):
            if stored[name] != self._asked[name]:
                raise InputError(_contradiction(self.path, name, stored[name], self._asked[name]))
        # The seed belongs to each training, not to the study.
        check_same(self.path, stored["settings"], self._asked["settings"], besides=("run.seed",))


def check_same(
    path: Path,
    stored: Mapping[str, Any],
    asked: Mapping[str, Any],
    *,
    besides: Collection[str] = (),
) -> None:
    """Raise unless two sets of settings, by dotted key, describe the same training.

    Parameters
    ----------
    path
        Where `stored` was found, for the message.
    stored, asked
        What a training was started with, and what is asked for now.
    besides
        Keys, or tables of keys, that may differ, as those may that a resumed run may change.

    Raises
    ------
    InputError
        They do not; the line names the first key.
    """
    for key in sorted(set(stored) | set(asked)):
        if key in MAY_CHANGE_ON_RESUME or any(f"{key}.".startswith(f"{b}.") for b in besides):
            continue
        was, now = stored.get(key, NONE), asked.get(key, NONE)
        if was != now:
            raise InputError(_contradiction(path, key, was, now))


def _contradiction(path: Path, key: str, was: Any, now: Any) -> str:
    return f"{path}: {key}: is {was!r}, but {now!r} is asked for: ask for the same, or use --out"
