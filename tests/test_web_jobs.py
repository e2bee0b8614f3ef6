"""The page's server without a browser: jobs and visitors."""

import asyncio
import json
import os
import threading

import numpy as np
import pytest
from sitting import seated

from ganimation_jax.web import jobs, visitors
from ganimation_jax.web.photos import Refused
from ganimation_jax.web.visitors import Full, Gone, Visitors

RNG = np.random.default_rng(0)


# Jobs


def said(job, model=None, take=None):
    """The lines of a job; only the first ``take`` of them."""

    async def collect():
        lines = []
        stream = jobs.lines(job, model or threading.Lock(), (Refused,), str)
        async for line in stream:
            lines.append(json.loads(line))
            if len(lines) == take:
                await stream.aclose()
                break
        return lines

    return asyncio.run(collect())


def test_a_job_says_how_far_it_is(monkeypatch):
    monkeypatch.setattr(jobs, "OFTEN", 0)

    def job(progress):
        progress(1, 2)
        progress(2, 2)
        return {"file": "x"}

    assert said(job) == [{"done": 1, "total": 2}, {"done": 2, "total": 2}, {"file": "x"}]


def test_a_job_says_what_is_wrong():
    def job(progress):
        raise Refused("no face")

    assert said(job) == [{"problem": "no face"}]


def test_a_job_that_nobody_waits_for_stops_and_leaves_the_model():
    ended, model = threading.Event(), threading.Lock()

    def job(progress):
        try:
            for number in range(10**9):
                progress(number, None)
        finally:
            ended.set()

    assert len(said(job, model, take=2)) == 2
    assert ended.wait(20)
    assert model.acquire(timeout=20)


def test_others_use_the_model_between_two_frames():
    model, turns = threading.Lock(), []

    def other():
        for _ in range(3):
            with model:
                turns.append("other")

    def job(progress):
        thread = threading.Thread(target=other)
        thread.start()
        for number in range(300):
            turns.append("job")
            progress(number, None)
        thread.join()
        return {}

    said(job, model)
    assert "job" in turns[turns.index("other") :]


# Visitors


def test_a_visitor_has_things_while_its_page_is_open(tmp_path):
    guests = Visitors(tmp_path)
    _, sitting, _ = seated()
    with pytest.raises(Gone):
        guests.seat("a", sitting)
    with guests.visiting("a"):
        with pytest.raises(Gone):
            guests.sitting("a")
        guests.seat("a", sitting)
        path = guests.place("a", "edited.gif")
        path.write_bytes(b"film")
        assert guests.file("a", path.parent.name, path.name) == path
        for key, folder, name in (
            ("b", path.parent.name, path.name),
            ("a", "..", path.name),
            ("a", path.parent.name, "../edited.gif"),
        ):
            assert guests.file(key, folder, name) is None
        with guests.visiting("a"):  # it connects again before the server knows that it left
            pass
        assert guests.sitting("a") is sitting
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(Gone):
        guests.sitting("a")


def test_who_did_nothing_for_the_longest_time_loses_its_photo(tmp_path):
    guests, (_, sitting, _) = Visitors(tmp_path, most=2), seated()
    with guests.visiting("a"), guests.visiting("b"), guests.visiting("c"):
        guests.seat("a", sitting)
        guests.seat("b", sitting)
        guests.sitting("a")
        guests.seat("c", sitting)
        assert guests.sitting("a") is sitting
        with pytest.raises(Gone):
            guests.sitting("b")


def test_uploads_have_a_quota_and_go(tmp_path, monkeypatch):
    monkeypatch.setattr(visitors, "UPLOAD_QUOTA", 100_000)
    guests = Visitors(tmp_path)
    with guests.uploading(60_000):
        with pytest.raises(Full), guests.uploading(60_000):
            pass
        with guests.uploading(20_000):
            pass
    with guests.uploading(60_000), guests.upload(".png") as path:
        path.write_bytes(b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_visitor_has_some_files_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(visitors, "VISITOR_BYTES", 2000)
    guests = Visitors(tmp_path)
    with guests.visiting("a"):
        places = []
        for number in range(4):
            places.append(guests.place("a", "edited.gif"))
            places[-1].write_bytes(bytes(900))
            os.utime(places[-1].parent, ns=(number, number))
        assert [place.exists() for place in places] == [False, True, True, True]
        monkeypatch.setattr(visitors, "VISITOR_BYTES", 10**6)
        for number in range(4, 14):
            places.append(guests.place("a", "edited.gif"))
            os.utime(places[-1].parent, ns=(number, number))
        assert sum(place.parent.exists() for place in places) == visitors.MOST_FILES
