from __future__ import annotations

import pytest

from backend.errors import Cancelled, DeadlineExceeded, NeuromuseError
from backend.job import Job, Step


def test_every_step_is_reported_in_order() -> None:
    steps: list[Step] = []
    job = Job(steps.append)
    job.step(1, 2, "half")
    job.step(2, 2, preview="sound")
    assert steps == [Step(1, 2, "half"), Step(2, 2, "", "sound")]


def test_a_cancelled_job_raises_at_its_next_step_and_reports_nothing_more() -> None:
    steps: list[Step] = []
    job = Job(steps.append)
    job.cancel()
    job.cancel()
    assert job.cancelled
    for act in (job.check, lambda: job.step(1, 2)):
        with pytest.raises(Cancelled):
            act()
    assert steps == []


def test_a_late_job_raises_and_says_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [50.0]
    monkeypatch.setattr("backend.job.time.monotonic", lambda: now[0])
    job = Job(deadline_s=2.5)
    now[0] += 2.5
    job.step(1, 2)
    now[0] += 0.01
    with pytest.raises(DeadlineExceeded, match=r"after 2\.5 s"):
        job.step(2, 2)


def test_a_job_without_report_or_deadline_runs_on() -> None:
    Job().step(1, 1)


def test_cancelling_is_not_a_failure() -> None:
    assert not issubclass(Cancelled, NeuromuseError)
