"""What a study is: a question of the paper, variants of one training, and their outcomes."""

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
        What it changes in the study's settings, by dotted key.
    label
        What tables and pictures call it.
    """

    name: str
    settings: Mapping[str, Any]
    label: str


@dataclass(frozen=True)
class Published:
    """The paper's numbers, for the table.

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
    """A trained run, for a study that measures more than recall."""

    folder: RunFolder
    config: TrainConfig
    network: RPN
    dataset: VOCDataset  # the split to measure on
    limit: int | None  # only the first so many images


@dataclass(frozen=True)
class Outcome:
    """The outcome of one training.

    Parameters
    ----------
    variant, seed
        Which one.
    recall
        Of its proposals, up to 2,000 an image; None if the training did not finish.
    images
        How many it was measured on.
    train_seconds, measure_seconds
        Wall time of its steps and of the measurement.
    more
        What the study measures besides recall, by name; plain data for JSON.
    failure
        Why the training did not finish: a loss or a gradient was not finite.
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
        """Return the outcome that `to_dict` describes.

        Raises
        ------
        KeyError, TypeError
            `plain` describes no outcome.
        """
        recall = plain["recall"]
        return cls(
            **{**plain, "recall": None if recall is None else RecallResult.from_dict(recall)}
        )


@dataclass(frozen=True)
class Findings:
    """A study and its outcomes so far.

    Parameters
    ----------
    study
        The question.
    base
        The settings that all variants share.
    variants
        In the order of the table.
    outcomes
        Of the trainings that have ended.
    """

    study: Study
    base: TrainConfig
    variants: tuple[Variant, ...]
    outcomes: tuple[Outcome, ...]

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


@dataclass(frozen=True)
class Study:
    """A question of the paper, asked again with small trainings.

    Parameters
    ----------
    name
        What the command line calls it.
    title
        Its subject, in a few words.
    source
        The place in the paper.
    question
        The question, a sentence.
    reading
        How to read the answer, in sentences: what is the same as in the paper, and what is not.
    variants
        Returns the trainings that are compared, given the settings they share.
    baseline
        Name of the variant that the others are compared with: the paper's choice.
    table, draw
        Return the section of a page (Markdown), and the picture (a matplotlib figure or axes).
    published
        The paper's own numbers, if it prints any.
    remark
        Returns a sentence on these findings, or an empty text.
    seeds
        How many times each variant is trained, unless asked otherwise.
    measure
        Returns what it measures besides recall.
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
