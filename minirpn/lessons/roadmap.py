"""The map of the chapters: where in the network one is, what is done, what is open."""

from __future__ import annotations

from html import escape

from minirpn.lessons.chapters import CHAPTERS, PIPELINE, Lesson
from minirpn.lessons.progress import Progress

_GLOSSARY = "../docs/reference/glossary.md"
_NOTATION = "../docs/reference/notation.md"


def done(chapter: Lesson, progress: Progress) -> list[str]:
    """Return the exercises of a chapter that are right, in order."""
    states = progress.get(chapter.name, {})
    return [exercise for exercise in chapter.exercises if states.get(exercise) == "right"]


def _mark(chapter: Lesson, progress: Progress) -> str:
    """Return what is done of a chapter in one word: nothing, ``2 of 5``, or a tick."""
    right = len(done(chapter, progress))
    if right == len(chapter.exercises):
        return "✓"
    return f"{right} of {len(chapter.exercises)}" if right else "○"


def as_text(progress: Progress, here: Lesson | None = None) -> str:
    """Return the chapters, one a line, with what is done of each; an arrow stands before here."""
    lines = [
        f"{'→' if chapter is here else ' '} {chapter.number:02} · {chapter.title}"
        f"  {_mark(chapter, progress)}"
        for chapter in CHAPTERS
    ]
    right = sum(len(done(chapter, progress)) for chapter in CHAPTERS)
    all_of_them = sum(len(chapter.exercises) for chapter in CHAPTERS)
    return "\n".join([*lines, f"{right} of {all_of_them} exercises are right."])


def as_html(progress: Progress, here: Lesson) -> str:
    """Return the pipeline with the parts of a chapter marked, the chapters below it, and links."""
    pipeline = "".join(f"<div>{_row(names, here)}</div>" for names in PIPELINE)
    chapters = " ".join(_link(chapter, progress, here) for chapter in CHAPTERS)
    words = f'<a href="{_GLOSSARY}">glossary</a> · <a href="{_NOTATION}">notation</a>'
    return (
        f'<div style="line-height: 2">{pipeline}<div>{chapters}</div>'
        f"<div>{_neighbours(here)}{words}</div></div>"
    )


def _row(names: tuple[str, ...], here: Lesson) -> str:
    """Return parts of the network in frames; those of the chapter are filled."""
    plain = "border: 1px solid #888; border-radius: 4px; padding: 1px 6px"
    filled = f"{plain}; background: #0072b2; color: white"
    frames = [
        f'<span style="{filled if name in here.parts else plain}">{name}</span>' for name in names
    ]
    return " → ".join(frames)


def _link(chapter: Lesson, progress: Progress, here: Lesson) -> str:
    """Return a chapter's number as a link to it, with what is done of it."""
    number = f"<b>{chapter.number:02}</b>" if chapter is here else f"{chapter.number:02}"
    title = escape(f"{chapter.title}: {_mark(chapter, progress)}")
    mark = f" {_mark(chapter, progress)}" if progress else ""
    return f'<a href="{chapter.notebook}" title="{title}">{number}</a>{mark}'


def _neighbours(here: Lesson) -> str:
    """Return links to the chapters before and after."""
    links = ""
    if here.number > 0:
        before = CHAPTERS[here.number - 1]
        links += f'<a href="{before.notebook}">← {escape(before.title)}</a> · '
    if here.number + 1 < len(CHAPTERS):
        after = CHAPTERS[here.number + 1]
        links += f'<a href="{after.notebook}">{escape(after.title)} →</a> · '
    return links
