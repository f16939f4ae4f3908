"""What a study is: a question of the paper, variants of one training, and their outcomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from minirpn.data.voc import VOCDataset
from minirpn.evaluation import RecallResult
from minirpn.fields import (
    MOST_NAME,
    Check,
    Fields,
    number,
    object_of,
    optional,
    text,
    whole,
)
from minirpn.rpn.network import RPN
from minirpn.training.config import TrainConfig
from minirpn.training.run_folder import RunFolder

NOTHING_MORE = object_of()
"""The check of the other measurements of a study that makes none."""


class Variant(NamedTuple):
    """One of the trainings that a study compares."""

    name: str  # of its folder, and in study.json
    settings: Mapping[str, Any]  # its changes to the study's settings, by dotted key
    label: str  # its name in tables and pictures


class Published(NamedTuple):
    """The paper's numbers, for the table."""

    source: str  # where they are printed, such as "Table 9"
    what: str  # what was measured, in one phrase
    values: Mapping[str, float]  # by name of the variant


class Measured(NamedTuple):
    """A trained run, for a study that measures more than recall."""

    folder: RunFolder  # of the run
    config: TrainConfig  # its settings
    network: RPN  # as trained
    dataset: VOCDataset  # the split to measure on
    limit: int | None  # only the first so many images


class Outcome(NamedTuple):
    """The outcome of one training."""

    variant: str  # its name
    seed: int  # of all its random numbers
    recall: RecallResult | None  # of up to 2,000 proposals an image; None if it did not finish
    images: int = 0  # how many it was measured on
    train_seconds: float = 0.0  # wall time of its steps
    measure_seconds: float = 0.0  # wall time of the measurement
    more: Mapping[str, Any] = MappingProxyType({})  # other measurements, as plain data
    failure: str | None = None  # why it did not finish: a loss or a gradient was not finite

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers for JSON; `from_dict` is the inverse."""
        recall = None if self.recall is None else self.recall.to_dict()
        return self._asdict() | {"recall": recall, "more": dict(self.more)}

    @classmethod
    def from_dict(cls, plain: Any, where: str, more: Check[Mapping[str, Any]]) -> Outcome:
        """Return the outcome that `to_dict` describes, given the check of the other measurements.

        An InputError that begins with `where` says if it is none.
        """
        read = Fields(plain, where)
        recall = read.get("recall", optional(RecallResult.from_dict))
        seconds = number(0, 1e12)
        return cls(
            variant=read.get("variant", text(MOST_NAME)),
            seed=read.get("seed", whole(0, 2**63 - 1)),
            recall=recall,
            images=read.get("images", whole()),
            train_seconds=read.get("train_seconds", seconds),
            measure_seconds=read.get("measure_seconds", seconds),
            more={} if recall is None else read.get("more", more),
            failure=read.get("failure", optional(text())),
        )


class Findings(NamedTuple):
    """A study and its outcomes so far."""

    study: Study  # the question
    base: TrainConfig  # the settings that all variants share
    variants: tuple[Variant, ...]  # in the order of the table
    outcomes: tuple[Outcome, ...]  # of the trainings that have ended

    def finished(self, variant: Variant) -> list[Outcome]:
        """Return the outcomes of a variant's trainings that finished, by seed."""
        return [outcome for outcome in self._all_of(variant) if outcome.recall is not None]

    def failed(self, variant: Variant) -> list[Outcome]:
        """Return the outcomes of a variant's trainings that did not finish, by seed."""
        return [outcome for outcome in self._all_of(variant) if outcome.recall is None]

    def _all_of(self, variant: Variant) -> list[Outcome]:
        return sorted((o for o in self.outcomes if o.variant == variant.name), key=lambda o: o.seed)

    @property
    def baseline(self) -> Variant:
        """The variant that the others are compared with."""
        return next(v for v in self.variants if v.name == self.study.baseline)

    @property
    def seeds(self) -> int:
        """How many seeds each variant has; the fewest, if they differ."""
        return min(len(self._all_of(v)) for v in self.variants)


class Study(NamedTuple):
    """A question of the paper, asked again with small trainings."""

    name: str  # on the command line
    title: str  # its subject, in a few words
    source: str  # the place in the paper
    question: str  # one sentence
    reading: str  # how to read the answer: what is as in the paper, and what is not
    variants: Callable[[TrainConfig], tuple[Variant, ...]]  # made from the settings they share
    baseline: str  # name of the variant that the others are compared with: the paper's choice
    table: Callable[[Findings], str]  # returns the section of a page, in Markdown
    draw: Callable[[Findings], Any]  # returns a matplotlib figure or axes
    published: Published | None = None  # the paper's own numbers, if it prints any
    remark: Callable[[Findings], str] | None = None  # returns a sentence, or an empty text
    seeds: int = 3  # trainings of each variant, unless the user asks for another number
    measure: Callable[[Measured], dict[str, Any]] | None = None  # what else is measured
    # Given the settings, returns the check of what `measure` has stored.
    more: Callable[[TrainConfig], Check[Mapping[str, Any]]] = lambda config: NOTHING_MORE
