"""The one error that readers meet: a line that names the thing and the remedy."""

from __future__ import annotations


class CourseError(ValueError):
    """Something the reader or a contributor can mend.

    Parameters
    ----------
    problem : what is wrong, naming the thing
    remedy : what to do about it
    """

    def __init__(self, problem: str, remedy: str = ""):
        self.problem, self.remedy = problem, remedy
        super().__init__(f"{problem} → {remedy}" if remedy else problem)
