"""Whatever bytes arrive, the readers answer with sound or with one sentence."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.audio import io, midi
from backend.audio.waveform import Waveform
from backend.errors import AudioError

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
SOUND = Waveform((0.4 * np.sin(np.arange(4000) / 9)).astype(np.float32), 24_000)
MADE = {"instrument_id": "calm", "request": {"seed": 1}}
FILES = {name: io.encode(SOUND, name, MADE) for name in io.FORMATS}
SCORE = midi.to_midi(midi.make_notes([(i / 4, i / 4 + 0.2, 60 + i, 90, 0, False, i % 3) for i in range(12)]), 120, MADE)
MAGIC = [
    b"",
    b"RIFF\xff\xff\xff\xffWAVE",
    b"fLaC",
    b"OggS\0\x02",
    b"ID3\x04",
    b"\xff\xfb\x90\x64",
    b"FORM",
    b"RF64",
    b"MThd",
]


def try_everything(data: bytes) -> None:
    """All readers; anything but sound, None or `AudioError` fails the test."""
    try:
        wave = io.read(data, sample_rate=24_000, mono=True, max_seconds=30)
        assert np.isfinite(wave.samples).all() and np.abs(wave.samples).max() <= 1
        assert wave.duration_s <= 31
    except AudioError as error:
        assert str(error).endswith(".") and "\n" not in str(error)
    for reader in (io.read_provenance, midi.read_midi, midi.read_midi_provenance):
        try:
            found = reader(data)
            assert found is None or isinstance(found, (dict, np.ndarray))
        except AudioError as error:
            assert str(error).endswith(".")


@QUICK
@given(st.sampled_from(MAGIC), st.binary(max_size=3000))
def test_random_bytes_never_escape_the_reader(magic: bytes, data: bytes) -> None:
    try_everything(magic + data)


@QUICK
@given(st.sampled_from(sorted(FILES)), st.floats(0, 1), st.binary(max_size=40))
def test_truncated_files_never_escape_the_reader(name: str, share: float, tail: bytes) -> None:
    data = FILES[name]
    try_everything(data[: int(share * len(data))] + tail)


@settings(QUICK, max_examples=120)
@given(
    st.sampled_from(sorted(FILES)),
    st.lists(st.tuples(st.integers(0, 400) | st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=12),
)
def test_altered_files_never_escape_the_reader(name: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(FILES[name])
    for position, value in changes:
        data[position % len(data)] = value
    try_everything(bytes(data))


@settings(QUICK, max_examples=120)
@given(
    st.lists(st.tuples(st.integers(0, len(SCORE) - 1), st.integers(0, 255)), min_size=1, max_size=8), st.floats(0.1, 1)
)
def test_altered_midi_never_escapes_the_reader(changes: list[tuple[int, int]], share: float) -> None:
    data = bytearray(SCORE)
    for position, value in changes:
        data[position] = value
    try_everything(bytes(data[: int(share * len(data))]))


@QUICK
@given(st.text(max_size=400), st.sampled_from(["neuromuse-1 ", "neuromuse-1z ", ""]))
def test_any_comment_is_provenance_or_none(text: str, prefix: str) -> None:
    from backend.audio.provenance import from_comment

    assert isinstance(from_comment(prefix + text), (dict, type(None)))


@QUICK
@given(
    st.dictionaries(
        st.text(max_size=10),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(max_size=30),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
            max_leaves=12,
        ),
        max_size=6,
    ),
    st.sampled_from(sorted(FILES)),
)
def test_any_json_provenance_comes_back_exactly(made: dict[str, object], name: str) -> None:
    assert io.read_provenance(io.encode(SOUND, name, made)) == made


@pytest.mark.parametrize("rate", [1, 7_999, 192_001])
def test_odd_rates_in_a_wav_header_are_one_sentence(rate: int) -> None:
    data = bytearray(FILES["wav"])
    data[24:28] = rate.to_bytes(4, "little")
    with pytest.raises(AudioError, match=f"{rate} Hz"):
        io.read(bytes(data))
