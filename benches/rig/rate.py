"""The highest clean rate: found in steps, then halved down to, then confirmed."""

import math
from dataclasses import dataclass

from .processes import RigError


@dataclass(frozen=True)
class Effort:
    """The effort of a search."""

    # Length of a run on the way up, and of those that count.
    climb_s: float
    run_s: float
    # The result is known to within this factor.
    resolution: float
    # Runs that a rate gets to be clean once: a neighbour on the machine can spoil any.
    tries: int


class Search:
    """A search for the highest clean rate of one tool, one run at a time.

    A rate is taken as clean if one of its runs is. The result has two clean runs of full length.
    """

    RATE_MIN = 20

    def __init__(self, bench, tool, start, factor, effort, part):
        self._bench, self._tool, self._effort, self._part = bench, tool, effort, part
        self._factor = factor
        self._low = None
        self._high = None
        self._rate = _round(start)
        self._phase = "climb"
        self._tries = 0
        self._clean_runs = {}
        self._drop = effort.resolution
        # None in the end if no rate was clean.
        self.best = None

    @property
    def name(self):
        """Name of the tool whose rate is searched."""
        return self._tool.name

    @property
    def done(self):
        """True once the search is finished."""
        return self._phase == "done"

    def step(self):
        """Makes one run."""
        seconds = self._effort.climb_s if self._phase == "climb" else self._effort.run_s
        run = self._bench.run(self._tool, self._rate, seconds, self._part, self._phase)
        self._tries += 1
        if run.clean and seconds == self._effort.run_s:
            self._clean_runs[self._rate] = self._clean_runs.get(self._rate, 0) + 1
        # On the way down from a start that was too high, one run per rate is enough: a failure
        # there does not rule the rate out.
        hasty = self._phase == "climb" and self._low is None
        if run.clean or hasty or self._tries >= self._effort.tries:
            self._tries = 0
            getattr(self, "_after_" + self._phase)(run.clean)

    def _after_climb(self, clean):
        if clean:
            self._low = self._rate
            self._rate = _round(self._rate * self._factor)
        elif self._low is None:
            self._lower(2)
        else:
            self._high = self._rate
            self._halve()

    def _after_bisect(self, clean):
        if clean:
            self._low = self._rate
        else:
            self._high = self._rate
        self._halve()

    def _halve(self):
        middle = _round(math.sqrt(self._low * self._high))
        if self._high / self._low > self._effort.resolution and self._low < middle < self._high:
            self._phase, self._rate = "bisect", middle
        else:
            self._phase, self._rate = "confirm", self._low

    def _after_confirm(self, clean):
        if clean and self._clean_runs.get(self._rate, 0) >= 2:
            self.best = self._rate
            self._phase = "done"
        elif not clean:
            # The clean run was luck: lower, by more each time, so that there is an end.
            self._lower(self._drop)
            self._drop **= 2

    def _lower(self, factor):
        self._rate = _round(self._rate / factor)
        if self._rate < self.RATE_MIN:
            self._phase = "done"


def _round(rate):
    """Three digits are more than the search resolves."""
    digits = max(0, int(math.log10(rate)) - 2)
    return int(round(rate, -digits))


def alternate(searches, may_fail=()):
    """Runs the searches step by step in turn, so that drift of the machine hits all alike.

    Those named in `may_fail` may end without a clean rate, which is None then.
    """
    while not all(search.done for search in searches):
        for search in searches:
            if not search.done:
                search.step()
                if search.done and search.best is None and search.name not in may_fail:
                    raise RigError(f"{search.name} has no clean rate above {search.RATE_MIN}/s")
    return {search.name: search.best for search in searches}
