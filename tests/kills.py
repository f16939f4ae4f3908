"""Kill a process before its calls that change a file, time after time.

What a killed process leaves behind is its files, and they change only in the C functions counted
here. A kill before one of these calls stands for every moment since the call before. Programs of
one thread load everything once and import this; each start is a fork of theirs, and takes
hundredths of a second.
"""

import collections
import json
import os
import random
import signal
import sys
import tempfile

CHANGES = {"open", "write", "writelines", "flush", "close", "fsync", "replace", "rename", "unlink"}
CHANGES |= {"mkdir", "rmdir"}


def is_of_text(function):
    """Tell whether it is a method such as ``"text".replace``, which changes no file."""
    return isinstance(getattr(function, "__self__", None), str | bytes)


class Killer:
    """Kills so often; the same calls in every test run.

    Parameters
    ----------
    kills
        How many processes are killed in all.
    work
        A function whose calls are counted, in a process of its own that is left in peace.
    seed
        Of the moments.
    """

    def __init__(self, kills, work, seed=0):
        self.left, self.chance = kills, random.Random(seed)
        with tempfile.TemporaryFile("w+") as file:
            assert self._start(work, counts=file) == 0
            file.seek(0)
            self.calls = json.load(file)

    def until_done(self, work):
        """Start `work` until it ends by itself; yield after every kill.

        The first start is killed at the first call of a kind: nothing has been achieved yet.
        """
        is_first = True
        while True:
            # The few renames count as much as the many writes. A third of the whole work, so that
            # most starts are killed, and one work several times.
            name = self.chance.choice(sorted(self.calls))
            latest = 1 if is_first else 1 + self.calls[name] // 3
            kill_at, is_first = (name, self.chance.randint(1, latest)), False
            status = self._start(work, kill_at if self.left else None)
            if status == 0:
                return
            assert os.WIFSIGNALED(status), status
            self.left -= 1
            yield

    def _start(self, work, kill_at=None, counts=None):
        child = os.fork()
        if child:
            return os.waitpid(child, 0)[1]
        calls = collections.Counter()

        def watch(frame, event, function):
            if event == "c_call" and function.__name__ in CHANGES and not is_of_text(function):
                calls[function.__name__] += 1
                if (function.__name__, calls[function.__name__]) == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        status = 1
        try:
            sys.setprofile(watch)
            work()
            sys.setprofile(None)
            if counts is not None:
                json.dump(calls, counts)
                counts.flush()
            status = 0
        finally:
            os._exit(status)
