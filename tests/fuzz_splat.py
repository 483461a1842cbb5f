"""A fuzz target for the splat reader: no console may raise, or give a report out of its bounds.

    pip install -e '.[fuzz]'
    python tests/fuzz_splat.py -max_total_time=600 [CORPUS]

The fuzzer's bytes are half a script, half text: they choose lines of the hand-built reports, cut
them, change bytes of them, and say where the console is cut into pieces.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

with atheris.instrument_imports(include=["harness.splat"]):
    from harness.splat.reader import Reader, opened, read
    from harness.splat.shown import as_json, as_mail

from tests.splat_samples import SAMPLES

LINES = [line for sample in SAMPLES.values() for line in sample.lines]


def console(data: atheris.FuzzedDataProvider) -> bytes:
    """Lines of reports, whole and broken, by several tasks, among any other bytes."""
    text = bytearray()
    stamp = 1.0
    while data.remaining_bytes() > 2 and len(text) < 60_000:
        match data.ConsumeIntInRange(0, 9):
            case 0:
                text += data.ConsumeBytes(data.ConsumeIntInRange(0, 64))
            case 1:
                text += b"\n"
            case 2:
                stamp += data.ConsumeIntInRange(0, 20)
            case 3:
                del text[-data.ConsumeIntInRange(1, 40) :]
            case _:
                at = data.ConsumeIntInRange(0, len(LINES) - 1)
                many = data.ConsumeIntInRange(1, 12)
                caller = data.PickValueInList(["", "", "[    T1]", "[    T2]", "[    C1]"])
                prefix = f"[{stamp:12.6f}]{caller} " if data.ConsumeBool() else ""
                for line in LINES[at : at + many]:
                    text += f"{prefix}{line}\n".encode()
    return bytes(text)


def test_one_input(raw: bytes) -> None:
    data = atheris.FuzzedDataProvider(raw)
    step = data.ConsumeIntInRange(1, 5000)
    text = console(data)
    for splat in read(text):
        assert 0 <= splat.start < splat.end <= len(text)
        assert splat.title
        as_json(splat)
        as_mail(splat)
    reader: Reader = opened(text[:step])
    for begin in range(0, len(text), step):
        reader.feed(text[begin : begin + step])
    reader.finish()
    read(raw)


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
