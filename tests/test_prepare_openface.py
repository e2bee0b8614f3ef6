"""OpenFace's CSV files in every dialect, and how they find their pictures."""

import csv
import io
import os
from pathlib import Path

import numpy as np
import pytest
from test_prepare import draw, intensities, read_rows, records, write_csv
from test_prepare_sources import openface, skipped, write_rows

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.faces import openface_rows
from ganimation_jax.faces.openface_rows import Rows, index_rows, measure, rows_of
from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.prepare.matching import Names

CASES = Path(__file__).parents[2] / "shared" / "cases"
UNITS = [f"{code}_r" for code in ACTION_UNITS]
NAMES = ("a.jpg", "Smith, John 0.jpg", 'quo"te.jpg', "C:\\data\\imgs\\é.jpg")


def table(count=4, decimal="."):
    """A header and rows of text, as a join of several of OpenFace's files has them."""
    lines = [["", "file", "frame", "confidence", *UNITS]]
    for number in range(count):
        values = [f"{value:.3f}".replace(".", decimal) for value in (0.975, *intensities(number))]
        lines.append([str(number), NAMES[number % len(NAMES)], str(number + 1), *values])
    return lines


def text_of(lines, delimiter=",", ends="\n", quoting=csv.QUOTE_MINIMAL):
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, lineterminator=ends, quoting=quoting).writerows(lines)
    return buffer.getvalue()


SPACED = text_of(table()).replace(",AU", ", AU").replace(",0.975", ", 0.975")
DIALECTS = {
    "plain": text_of(table()).encode(),
    "spaces": SPACED.encode(),
    "spaces before quotes": text_of(table(), quoting=csv.QUOTE_ALL).replace('","', '", "').encode(),
    "R and pandas": text_of(table(), quoting=csv.QUOTE_ALL).encode(),
    "crlf": text_of(table(), ends="\r\n").encode(),
    "cr": text_of(table(), ends="\r").encode(),
    "no last line end": text_of(table()).rstrip().encode(),
    "empty lines": ("\n\n" + text_of(table(), ends="\n\n") + ",,,\n").encode(),
    "trailing": text_of([[*line, ""] for line in table()]).encode(),
    "trailing in rows only": text_of([table()[0], *([*x, ""] for x in table()[1:])]).encode(),
    "trailing in header only": text_of([[*table()[0], "", ""], *table()[1:]]).encode(),
    "semicolon": text_of(table(decimal=","), ";").encode(),
    "semicolon, decimal points": text_of(table(), ";", "\r\n").encode(),
    "sep line": ("sep=;\r\n" + text_of(table(decimal=","), ";", "\r\n")).encode("utf-8-sig"),
    "tab": text_of(table(), "\t").encode(),
    "bar": text_of(table(), "|").encode(),
    "quoted decimal commas": text_of(table(decimal=","), ",").encode(),
    "bom": text_of(table()).encode("utf-8-sig"),
    "utf-16": text_of(table(), "\t", "\r\n").encode("utf-16"),
    "utf-16 big": b"\xfe\xff" + text_of(table(decimal=","), "\t", "\r").encode("utf-16-be"),
    "utf-16 without mark": text_of([line[1:] for line in table()]).encode("utf-16-le"),
    "utf-32": text_of(table()).encode("utf-32"),
    "joined by cat": (text_of(table()[:3]) + text_of([table()[0], *table()[3:]])).encode(),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_gives_the_same_rows_in_order_and_at_random(tmp_path, dialect):
    path = tmp_path / "all.csv"
    path.write_bytes(DIALECTS[dialect])
    keys = list(index_rows(path))
    assert [(key.file, key.frame) for key in keys] == [*zip(NAMES, range(1, 5), strict=True)]
    rows = list(rows_of(path))
    assert len(rows) == 4
    for number in (3, 1, 0, 2):
        (row,) = openface_rows.read_rows(Rows(path, (keys[number].offset,)))
        assert row == rows[number]
        measured = measure(row, path, min_confidence=0.9)
        assert list(measured.aus.values()) == list(intensities(number))
        assert (measured.confidence, measured.frame) == (0.975, number + 1)


def cell(column, value):
    lines = table(2)
    lines[2][lines[0].index(column)] = value
    return text_of(lines).encode()


@pytest.mark.parametrize(
    ("content", "reason", "detail"),
    [
        (b"", "unreadable CSV", "it is empty"),
        (b"\n\n,,,\n", "unreadable CSV", "it has no header"),
        (b"\xef\xbb\xbf", "unreadable CSV", "it has no header"),
        (text_of(table()).encode("latin1"), "unreadable CSV", "neither UTF-8 nor UTF-16"),
        (bytes(range(256)), "unreadable CSV", "neither UTF-8 nor UTF-16"),
        (b"\xff\xfe" + b"a\xd8" * 9, "unreadable CSV", "neither UTF-8 nor UTF-16"),
        (b"x" * 200_000, "unreadable CSV", "field larger than field limit"),
        (b"x," * 600_000, "unreadable CSV", "more than 1,000,000 characters"),
        (cell("file", "y" * 200_000), "unreadable CSV", "field larger than field limit"),
        (cell("AU01_r", "1" * 5_000), "intensity outside 0-5", "AU01 is inf"),
        (cell("AU01_r", "1,2,3"), "unreadable CSV", "AU01_r is '1,2,3', not a number"),
        (cell("AU01_r", ""), "unreadable CSV", "AU01_r is '', not a number"),
        (cell("AU01_r", "w" * 999), "unreadable CSV", "AU01_r is 'wwww"),
        (cell("confidence", "nan"), "low confidence", "nan is below"),
        (cell("confidence", "inf"), "unreadable CSV", "confidence is inf, above 1"),
        *(
            (cell("frame", frame), "unreadable CSV", f"frame is '{frame}', not a whole number")
            for frame in ("nan", "inf", "-inf", "1e400", "-1", "2.5", "1e300")
        ),
        (text_of([[*table()[0], "AU01_r"]]).encode(), "unreadable CSV", "two columns are named"),
        (text_of([line[:3] for line in table()]).encode(), "CSV lacks action units", "AU45_r"),
        (text_of([line[:3] + line[4:] for line in table()]).encode(), "CSV lacks its", "no column"),
        (
            text_of([table()[0], table()[1][:-1]]).encode(),
            "unreadable CSV",
            "columns, 20 values",
        ),
        (text_of(table()).encode() + b'"a', "unreadable CSV", "unexpected end of data"),
    ],
    ids=range(27),
)
def test_a_bad_file_is_one_clear_reason(tmp_path, content, reason, detail):
    path = tmp_path / "a.csv"
    path.write_bytes(content)

    def read():
        return [measure(row, path, 0.7) for row in openface_rows.read_rows(Rows(path))]

    with pytest.raises(UnusableFile) as error:
        read()
    assert error.value.file == path
    assert error.value.reason.startswith(reason)
    assert detail in error.value.detail
    assert len(error.value.detail) < 200


def test_pipes_and_missing_files_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for name, detail in {"pipe.csv": "not a regular file", "gone.csv": "No such file"}.items():
        with pytest.raises(UnusableFile, match=detail):
            openface_rows.read_rows(Rows(tmp_path / name))
    with pytest.raises(UnusableFile, match="not a regular file"):
        list(index_rows(tmp_path / "pipe.csv"))


def test_a_bad_row_costs_itself_only(tmp_path):
    for number in range(3):
        draw(tmp_path / f"imgs/walk/{number}.jpg", seed=number)
        draw(tmp_path / f"imgs/{number}.jpg", seed=number)
    frames = ("1", "nan", "1e400", "inf", "3")
    write_rows(tmp_path / "csv/walk.csv", [{"frame": x, "confidence": 1} for x in frames])
    names = [{"file": f"{x}.jpg", "frame": 1e400 if x else 1, "confidence": 1} for x in range(2)]
    write_rows(tmp_path / "csv/all.csv", names)
    write_csv(tmp_path / "csv/2.csv", frame="nan")
    assert openface(tmp_path) == 0
    assert sorted(records(tmp_path / "out")) == ["0", "walk+000001", "walk+000003"]
    lines = skipped(tmp_path)
    assert ("2.csv", "unreadable CSV") in lines
    assert lines.count(("walk.csv", "unreadable CSV")) == 3
    assert lines.count(("all.csv", "unreadable CSV")) == 1
    assert ("1.jpg", "picture without annotation") in lines


# Which picture an annotation means


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("A/x.jpg", ["A/x.jpg"]),
        ("A/x", ["A/x.jpg"]),
        ("C:\\set\\B\\x.jpg", ["B/x.jpg"]),
        ("/home/me/set/B/x.png", ["B/x.jpg"]),  # another ending is another file of that name
        ("x.jpg", ["A/x.jpg", "B/x.jpg"]),
        ("y.jpg", ["y.jpg"]),  # the root's own before one that lies deeper
        ("deep/y.jpg", ["A/deep/y.jpg"]),
        ("./z.w", ["z.w.png"]),
        ("B\\odd.jpg", ["B\\odd.jpg"]),
        ("gone.jpg", []),
        ("", []),
        ("/", []),
    ],
)
def test_names_find_what_shares_most_of_their_path(name, found):
    sources = ["A/x.jpg", "B/x.jpg", "y.jpg", "A/deep/y.jpg", "z.w.png", "B\\odd.jpg"]
    names = Names((source, Path(source)) for source in sources)
    assert [str(path) for path in names.find(name).paths] == found


def test_the_same_tree_twice_is_paired_by_path(tmp_path):
    """Pictures, folders of frames and OpenFace's crops; and lists that name them."""
    for seed, person in enumerate("AB"):
        for number in range(2):
            draw(tmp_path / f"imgs/{person}/{number}.jpg", seed=10 * seed + number)
            write_csv(tmp_path / f"csv/{person}/{number}.csv", seed=10 * seed + number)
            draw(tmp_path / f"imgs/{person}/walk/{number}.jpg", seed=number)
            draw(tmp_path / f"imgs/{person}/clip_aligned/frame_det_00_00000{number + 1}.bmp")
        for name in ("walk", "clip"):
            frames = [{"frame": 1 + i, "face_id": 0, "confidence": 1} for i in range(2)]
            write_rows(tmp_path / f"csv/{person}/{name}.csv", frames)
    (tmp_path / "test.csv").write_text("B/0.jpg\nA\\1.jpg\nB/walk\n")
    assert openface(tmp_path, "--test-ids", tmp_path / "test.csv") == 0
    assert skipped(tmp_path) == []
    found = records(tmp_path / "out")
    assert len(found) == 2 * (2 + 2 + 2)
    for seed, person in enumerate("AB"):
        for number in range(2):
            record = found[f"{person}__{number}"]
            assert record["source"] == f"{person}/{number}.jpg"
            want = np.float32(intensities(10 * seed + number))
            np.testing.assert_array_equal(record["aus"], want)
            assert found[f"{person}__walk+00000{number + 1}"]["source"].startswith(f"{person}/walk")
    held_out = {
        row["id"] for row in read_rows(tmp_path / "out/table.csv") if row["split"] == "test"
    }
    assert held_out == {"B__0", "A__1", "B__walk+000001", "B__walk+000002"}


def test_what_the_path_does_not_decide_is_reported(tmp_path):
    for name in ("A/x", "B/x", "A/only", "C/y"):
        draw(tmp_path / f"imgs/{name}.jpg")
    for name in ("x", "B/only", "D/y", "E/y"):
        write_csv(tmp_path / f"csv/{name}.csv")
    assert openface(tmp_path) == 0
    assert list(records(tmp_path / "out")) == ["only"]
    assert skipped(tmp_path) == [
        *[("x.csv", "two files of one id")],
        *[("x.jpg", "two files of one id")] * 2,
        *[("y.csv", "two files of one id")] * 2,
        ("y.jpg", "two files of one id"),
    ]


@pytest.mark.skipif(not CASES.exists(), reason=f"no inputs of reported faults at {CASES}")
@pytest.mark.parametrize(
    ("case", "labels", "count"),
    [
        *((f"06_quoted_csv/{name}", "all.csv", 6) for name in ("j_comma", "j_quoteall", "j_win")),
        ("06_quoted_csv/seq_quoted", "csv", 6),
        ("08_mirrored_tree", "csv", 8),
        *((f"12_csv_dialects/{name}", "csv", 6) for name in ("semicolon", "tab", "trailing", "cr")),
    ],
)
def test_reported_cases(tmp_path, case, labels, count):
    (tmp_path / "imgs").symlink_to(CASES / case / "imgs")
    (tmp_path / labels).symlink_to(CASES / case / labels)
    assert openface(tmp_path, csv=labels) == 0
    assert (len(records(tmp_path / "out")), skipped(tmp_path)) == (count, [])
