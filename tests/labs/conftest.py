"""The graded classes that the tests of the labs look at, one of each kind for each lab."""

import pytest

from labs import course as c


@pytest.fixture(scope="module", params=c.LABS)
def lab(request: pytest.FixtureRequest) -> str:
    """The name of a lab."""
    return str(request.param)


@pytest.fixture(scope="module")
def graded(lab: str, tmp_path_factory: pytest.TempPathFactory) -> c.Course:
    """Three submissions, graded: nothing done, everything solved, mistakes made."""
    course = c.Course.create(tmp_path_factory.mktemp("class"), lab)
    course.submit("empty", course.student_version())
    course.submit("solved", c.filled(course.student_version(), c.solutions(lab)))
    course.submit("wrong", c.filled(course.student_version(), c.solutions(lab) | c.wrong_answers(lab)))
    course.nbgrader("autograde", lab)
    return course
