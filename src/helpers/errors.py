"""The one error that readers meet: a line that names the thing and the remedy."""

from __future__ import annotations


class CourseError(ValueError):
    """Something the reader or a contributor can mend.

    Parameters
    ----------
    problem : what is wrong, naming the thing
    remedy : what to do about it
    kind : the problem without its particulars, for counting problems of many rows
    """

    def __init__(self, problem: str, remedy: str = "", kind: str = ""):
        self.problem, self.remedy, self.kind = problem, remedy, kind or problem
        super().__init__(f"{problem} → {remedy}" if remedy else problem)
