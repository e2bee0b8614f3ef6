"""What instruments read is kept: each picture is read once, and what is kept is what was read."""

import logging
import sqlite3
import threading

import numpy as np
import pytest

from ganimation_jax.evaluation import readings
from ganimation_jax.evaluation.readings import Progress, remembering
from ganimation_jax.files.row_store import RowStore

IMAGES = np.random.default_rng(0).uniform(-1, 1, (150, 8, 8, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "ganimation_jax" / "readings" / "readings.sqlite"


class Instrument:
    """Reads two numbers of a picture, NaN in the third; counts the pictures of each call."""

    def __init__(self):
        self.seen = []

    def read(self, *arrays):
        self.seen.append(len(arrays[0]))
        rows = sum(array[:, 0, 0] for array in arrays).astype(np.float32)
        rows[:, 2] = np.nan
        return rows


def test_a_picture_is_read_once():
    instrument = Instrument()
    read = remembering(instrument.read, "eye")
    images = IMAGES[[0, 1, 0, 2]]
    want = Instrument().read(images)
    for _ in range(2):
        np.testing.assert_array_equal(read(images), want)
    np.testing.assert_array_equal(read(IMAGES[:5]), Instrument().read(IMAGES[:5]))
    assert instrument.seen == [3, 2]


def test_what_has_a_version_is_kept_for_the_next_process(caches):
    first, second = Instrument(), Instrument()
    want = Instrument().read(IMAGES)
    np.testing.assert_array_equal(remembering(first.read, "eye", "1")(IMAGES), want)
    assert first.seen == [64, 64, 22]
    np.testing.assert_array_equal(remembering(second.read, "eye", "1")(IMAGES[::-1]), want[::-1])
    assert second.seen == []
    # Another version, another instrument, another type of the same bytes, or another shape.
    for name, version, images in (
        ("eye", "2", IMAGES[:1]),
        ("ear", "1", IMAGES[:1]),
        ("eye", "1", IMAGES[:1].view(np.int32)),
        ("eye", "1", IMAGES[:1].reshape(1, 4, 16, 3)),
    ):
        other = Instrument()
        remembering(other.read, name, version)(images.copy())
        assert other.seen == [1], (name, version)


def test_pairs_are_kept_in_their_order():
    instrument = Instrument()
    pairs = remembering(lambda a, b: instrument.read(a, -2 * b), "distance", "1")
    a, b = IMAGES[:2], IMAGES[2:4]
    np.testing.assert_array_equal(pairs(a, b), Instrument().read(a, -2 * b))
    np.testing.assert_array_equal(pairs(b, a), Instrument().read(b, -2 * a))
    assert instrument.seen == [2, 2]


def test_what_was_read_before_an_interruption_is_kept():
    def interrupted(images):
        if len(images) < 64:
            raise KeyboardInterrupt
        return Instrument().read(images)

    with pytest.raises(KeyboardInterrupt):
        remembering(interrupted, "eye", "1")(IMAGES)
    instrument = Instrument()
    remembering(instrument.read, "eye", "1")(IMAGES)
    assert instrument.seen == [len(IMAGES) - 128]


def test_a_damaged_row_is_read_again_and_rewritten(caches):
    want = remembering(Instrument().read, "eye", "1")(IMAGES[:4])
    with sqlite3.connect(caches) as file:
        (key, row) = file.execute("SELECT key, row FROM rows").fetchone()
        file.execute("UPDATE rows SET row = ? WHERE key = ?", (row[:-1] + b"\x00", key))
    file.close()
    for seen in ([1], []):
        instrument = Instrument()
        np.testing.assert_array_equal(remembering(instrument.read, "eye", "1")(IMAGES[:4]), want)
        assert instrument.seen == seen


@pytest.mark.parametrize("where", ["head", "middle"])
def test_a_damaged_file_is_replaced(caches, caplog, where):
    want = remembering(Instrument().read, "eye", "1")(IMAGES)
    content = bytearray(caches.read_bytes())
    place = 0 if where == "head" else 4096
    content[place : place + 2048] = b"\xff" * 2048
    caches.write_bytes(content)
    np.testing.assert_array_equal(remembering(Instrument().read, "eye", "1")(IMAGES), want)
    assert f"cache {caches} is damaged" in caplog.text
    instrument = Instrument()
    np.testing.assert_array_equal(remembering(instrument.read, "eye", "1")(IMAGES), want)
    assert instrument.seen == []


def test_a_file_that_cannot_be_used_is_reported_once(caches, caplog):
    caches.mkdir(parents=True)
    read = remembering(Instrument().read, "eye", "1")
    for part in (IMAGES[:2], IMAGES[2:4]):
        np.testing.assert_array_equal(read(part), Instrument().read(part))
    assert caplog.text.count("is not used: unable to open database file") == 1


def test_rows_unused_for_longest_are_deleted(tmp_path, monkeypatch):
    store = RowStore(tmp_path / "rows.sqlite", limit=8)
    rows = {bytes([i]): np.full(2, i, np.float32) for i in range(11)}
    clock = iter(range(0, 10**9, 10**6))
    monkeypatch.setattr("time.time", lambda: next(clock))
    for i in range(8):
        store.put({bytes([i]): rows[bytes([i])]})
    assert len(store.get(rows)) == 8
    store.get([bytes([0])])  # used again: kept
    store.put({key: rows[key] for key in list(rows)[8:]})
    kept = store.get(rows)
    assert len(kept) == 4
    assert {bytes([0]), bytes([8]), bytes([9]), bytes([10])} == set(kept)


def test_several_writers_at_once(tmp_path):
    def fill(start):
        store = RowStore(tmp_path / "rows.sqlite")
        for i in range(start, start + 20):
            store.put({bytes([i]): np.full(3, i, np.float32)})

    threads = [threading.Thread(target=fill, args=(start,)) for start in (0, 10, 20, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = RowStore(tmp_path / "rows.sqlite").get(bytes([i]) for i in range(60))
    assert {key[0]: row.tolist() for key, row in found.items()} == {i: [i] * 3 for i in range(50)}


def test_progress_says_how_fast_and_how_long(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    clock = iter([0.0, 4.0, 8.0, 9.0, 20.0])
    monkeypatch.setattr(readings.time, "monotonic", lambda: next(clock))
    progress = Progress("mediapipe", 400)
    for _ in range(4):
        progress.add(100)
    (line,) = (record.getMessage() for record in caplog.records)
    assert line == "mediapipe: 200 of 400 pictures, 25.0 images/s, 8 s left"
