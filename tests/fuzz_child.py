"""Reads mutated files of one kind; run by test_fuzz in processes with limits.

    python fuzz_child.py KIND SEED COUNT FOLDER

FOLDER holds honest files of that kind. What a reader may do with a mutated one: read it, or
refuse it in one short sentence. Everything else is printed and makes the exit code 1.
"""

import json
import random
import resource
import signal
import sys
import traceback
from pathlib import Path

SECONDS, MEMORY = 120, 6 << 30  # of a file; of the process, in bytes of address space
ODD = (None, True, -1, 0, 2**20, 2**70, 1e308, float("nan"), "", "x" * 999, [], {}, [[]], "AU99")
NUMBERS = [b"\0" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0" * 3 + b"\x80", b"\xff" * 8]
TEXTS = [b"nan", b"inf", b"1e400", b"-1", b",", b'"', b";", b"\n", b"\r", b"\0", b"\xff\xfe", b"."]


def mutated(content, rng):
    """Some bytes changed, moved, lost or put in."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        place = rng.randrange(len(data) + 1)
        size = rng.choice((1, 2, 4, 8, 64, 1000))
        match rng.randrange(7):
            case 0 if place < len(data):
                data[place] ^= 1 << rng.randrange(8)
            case 1 if place < len(data):
                data[place] = rng.randrange(256)
            case 2:
                del data[place : place + size]
            case 3:
                data[place:place] = data[place : place + size] * rng.choice((1, 2, 50))
            case 4:
                new = rng.choice(NUMBERS)
                data[place : place + len(new)] = new
            case 5:
                data[place:place] = rng.choice(TEXTS)
            case 6:
                del data[place:]
    return bytes(data)


def mutated_json(content, rng):
    """A value of another kind at some place, or bytes as above."""
    if rng.random() < 0.3:
        return mutated(content, rng)
    value = json.loads(content)
    for _ in range(rng.choice((1, 2, 3))):
        inner = value
        while isinstance(inner, dict | list) and inner:
            keys = list(inner) if isinstance(inner, dict) else range(len(inner))
            key = rng.choice(keys)
            if rng.random() < 0.4 or not isinstance(inner[key], dict | list) or not inner[key]:
                inner[key] = rng.choice(ODD)
                break
            inner = inner[key]
    return json.dumps(value).encode()


def read_picture(path):
    from ganimation_jax.media import pictures

    pictures.picture_size(path)
    pictures.read_picture(path, 512)


def read_csv(path):
    from ganimation_jax.faces import openface_rows

    for key in openface_rows.index_rows(path):
        if isinstance(key, openface_rows.RowKey):
            openface_rows.read_rows(openface_rows.Rows(path, (key.offset,)))
    for row in openface_rows.rows_of(path):
        openface_rows.measure(row, path, 0.5)


def read_pickle(path):
    from ganimation_jax.prepare.aus_pickle import from_values, read_aus_pickle

    for values in read_aus_pickle(path).values():
        from_values(values)


def read_npz(path):
    from ganimation_jax.prepare.readout import Readout

    Readout.load(path)


def read_pth(path):
    from ganimation_jax.interop.torch_files import read_state_dict

    read_state_dict(path)


def read_jsonl(path):
    from ganimation_jax.files import json_lines

    json_lines.clean(path, json_lines.numbers_only, "images", 500)
    for record in json_lines.read(path, json_lines.numbers_only, "images"):
        json.dumps(record)


def read_card(path):
    from ganimation_jax.runs import card_checks, model_files

    found = model_files.read(path)
    card_checks.model_of(found.card["config"], found.nets, str(path))


READERS = {
    "picture": read_picture,
    "csv": read_csv,
    "pickle": read_pickle,
    "npz": read_npz,
    "pth": read_pth,
    "jsonl": read_jsonl,
    "card": read_card,
}


def expected():
    from ganimation_jax.files.unusable import UnusableFile
    from ganimation_jax.prepare.problems import UsageError

    return UnusableFile, UsageError, ValueError, FileNotFoundError


def out_of_time(*_):
    raise TimeoutError(f"more than {SECONDS} s")


def main(kind, seed, count, folder):
    import numpy as np  # before the limits

    assert np
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, out_of_time)
    rng = random.Random(seed)
    honest = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    mutate = mutated_json if kind == "card" else mutated
    read, allowed, failed = READERS[kind], expected(), 0
    for path in honest:
        if path.suffix != ".safetensors":
            read(path)  # or the fuzzing would try nothing
    sources = [path for path in honest if path.suffix != ".safetensors"]
    for number in range(count):
        source = rng.choice(sources)
        path = source.with_name(f".{source.name}")
        if kind == "card":
            path = source.with_name("mutated.json")
            weights = source.with_suffix(".safetensors").read_bytes()
            path.with_suffix(".safetensors").write_bytes(weights)
        path.write_bytes(mutate(source.read_bytes(), rng))
        signal.alarm(SECONDS)
        try:
            read(path)
        except allowed as error:
            if len(str(error)) > 600 or "\n" in str(error).strip():
                print(f"{kind} {number} of seed {seed}: no short sentence: {str(error)[:900]}")
                failed = 1
        except Exception:  # noqa: BLE001  whatever it is, it is a finding
            print(f"{kind} {number} of seed {seed}:\n{traceback.format_exc()[-1500:]}")
            path.rename(folder.parent / f"finding-{kind}-{seed}-{number}{source.suffix}")
            failed = 1
        finally:
            signal.alarm(0)
    print(f"read {count}")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
