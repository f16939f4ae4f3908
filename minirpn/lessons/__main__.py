"""``python -m minirpn.lessons``: what is done and open, of the folder one is in."""

from minirpn.lessons.progress import read_progress
from minirpn.lessons.roadmap import as_text

print(as_text(read_progress()))
