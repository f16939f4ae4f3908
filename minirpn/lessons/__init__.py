"""The chapters of the tutorials from within: their checks, what is done of them, and their order.

A notebook begins with ``chapter = Chapter("draw_a_box")``. Then ``chapter.check(my_area)`` checks
an exercise and goes on, right or wrong. ``python -m minirpn.lessons`` tells what is done.
"""

from minirpn.lessons.chapter import Chapter, NotYet
from minirpn.lessons.chapters import CHAPTERS, Lesson

__all__ = ["CHAPTERS", "Chapter", "Lesson", "NotYet"]
