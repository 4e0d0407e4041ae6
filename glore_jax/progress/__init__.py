"""How far a run is, for whoever waits for it.

record.py            what is known of a run at one moment: one record for all that follows
run.py               where the stages say what they do
pace.py, estimate.py how fast, and how long still
screen.py            the line on a terminal, lines in a log
keeper.py            the record as a file, which `glore status` reads
tensorboard.py       curves and texts; `remote_events.py`: in a bucket
words.py             times and rates for a person
"""

from glore_jax.progress.record import SCORE, TRAIN, WRITE
from glore_jax.progress.run import Piece, Progress

__all__ = ["SCORE", "TRAIN", "WRITE", "Piece", "Progress"]
