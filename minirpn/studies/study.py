"""What a study is: a question of the paper, variants of one training, and what came of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from minirpn.data.voc import VOCDataset
from minirpn.evaluation import RecallResult
from minirpn.rpn.network import RPN
from minirpn.training.config import TrainConfig
from minirpn.training.run_folder import RunFolder


@dataclass(frozen=True)
class Variant:
    """One of the trainings that a study compares.

    Parameters
    ----------
    name
        Of its folder, and in ``study.json``.
    settings
        What it changes about the study's settings, by dotted key.
    label
        What tables and pictures call it.
    """

    name: str
    settings: Mapping[str, Any]
    label: str


@dataclass(frozen=True)
class Published:
    """What the paper found, to stand beside what was found here.

    Parameters
    ----------
    source
        Where it is printed, such as ``"Table 9"``.
    what
        What was measured, in one phrase.
    values
        By name of the variant.
    """

    source: str
    what: str
    values: Mapping[str, float]


class Measured(NamedTuple):
    """A trained run, for what a study measures besides recall."""

    folder: RunFolder
    config: TrainConfig
    network: RPN
    dataset: VOCDataset  # the split that is measured on
    limit: int | None  # only the first so many images


@dataclass(frozen=True)
class Outcome:
    """What came of one training.

    Parameters
    ----------
    variant, seed
        Which one.
    recall
        Of its proposals, up to 2,000 an image; None if the training came to no end.
    images
        How many were measured on.
    train_seconds, measure_seconds
        Wall time of its steps, and of the measuring.
    more
        What the study measures besides, by name; anything JSON holds.
    failure
        Why the training came to no end: a loss or a gradient stopped being finite.
    """

    variant: str
    seed: int
    recall: RecallResult | None
    images: int = 0
    train_seconds: float = 0.0
    measure_seconds: float = 0.0
    more: Mapping[str, Any] = field(default_factory=dict)
    failure: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers for JSON; `from_dict` undoes it."""
        recall = None if self.recall is None else self.recall.to_dict()
        return vars(self) | {"recall": recall, "more": dict(self.more)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Outcome:
        """Return the outcome that `to_dict` was made from.

        Raises
        ------
        KeyError, TypeError
            It was made from none.
        """
        recall = plain["recall"]
        return cls(
            **{**plain, "recall": None if recall is None else RecallResult.from_dict(recall)}
        )


@dataclass(frozen=True)
class Findings:
    """A study and what came of it so far.

    Parameters
    ----------
    study
        What was asked.
    base
        The settings that all variants share.
    variants
        In the order of the table.
    outcomes
        Of the trainings that are done.
    """

    study: Study
    base: TrainConfig
    variants: tuple[Variant, ...]
    outcomes: tuple[Outcome, ...]

    def of(self, variant: Variant) -> list[Outcome]:
        """Return the outcomes of a variant that came to an end, by seed."""
        found = [o for o in self.outcomes if o.variant == variant.name and o.recall is not None]
        return sorted(found, key=lambda outcome: outcome.seed)

    def failed(self, variant: Variant) -> list[Outcome]:
        """Return the outcomes of a variant that came to no end, by seed."""
        found = [o for o in self.outcomes if o.variant == variant.name and o.recall is None]
        return sorted(found, key=lambda outcome: outcome.seed)

    @property
    def baseline(self) -> Variant:
        """The variant that the others are compared with."""
        return next(v for v in self.variants if v.name == self.study.baseline)

    @property
    def seeds(self) -> int:
        """How many seeds each variant has, the fewest of all of them."""
        return min(len(self.of(v)) + len(self.failed(v)) for v in self.variants)


@dataclass(frozen=True)
class Study:
    """A question of the paper that is asked again, small.

    Parameters
    ----------
    name
        What the command line calls it.
    title
        What it is about, in a few words.
    source
        The place in the paper.
    question
        What is asked.
    reading
        How to read the answer, in sentences: what is the same as in the paper, and what is not.
    variants
        Returns the trainings that are compared, given the settings they share.
    baseline
        Name of the variant that the others are compared with: the paper's choice.
    table, draw
        Return the section of a page (Markdown), and the picture (a matplotlib figure or axes).
    published
        The paper's own numbers, where it prints any.
    remark
        Returns a sentence on these findings, or an empty one.
    seeds
        How many times each variant is trained, unless asked otherwise.
    measure
        Returns what is measured besides recall.
    """

    name: str
    title: str
    source: str
    question: str
    reading: str
    variants: Callable[[TrainConfig], tuple[Variant, ...]]
    baseline: str
    table: Callable[[Findings], str]
    draw: Callable[[Findings], Any]
    published: Published | None = None
    remark: Callable[[Findings], str] | None = None
    seeds: int = 3
    measure: Callable[[Measured], dict[str, Any]] | None = None
