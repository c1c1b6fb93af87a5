"""`extract --shard` and `merge`: parts made anywhere and anyhow join into the store of one run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from small_stores import contents, write

import audiocls
from audiocls.cli import main
from audiocls.errors import DataError, SettingError
from audiocls.store import extraction, planning
from audiocls.store.extraction import extract_part
from audiocls.store.parts import merge

N = 5  # 11 recordings in shards of 2: part 1 has one shard, the others one or two


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "SHARD_RECORDINGS", 2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten recordings, a broken one, and a column that only some parts have."""
    folder = tmp_path_factory.mktemp("data")
    rows = []
    for i in range(10):
        write(folder / f"{i}.wav", i)
        rows.append({"file_name": f"{i}.wav", "label": f"class {i % 3}"})
    rows[7]["room"] = 'a "barn"\n'
    (folder / "broken.wav").write_bytes(b"")
    rows.append({"file_name": "broken.wav", "label": "class 1"})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def part(data: Path, out: Path, number: int, of: int = N, **settings: Any) -> Path:
    return extract_part(data, "mel-16k", out, shard=(number, of), threads=1, **settings).path


@pytest.fixture
def parts(data: Path, tmp_path: Path) -> Path:
    """A folder with all parts of a store, which are not merged yet."""
    for number in range(1, N + 1):
        part(data, tmp_path / "store", number)
    return tmp_path / "store"


def stop(_: extraction.Progress) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("clip_s", [0.25, 0.0])
@pytest.mark.parametrize("of", [1, 3, 9])
def test_merged_parts_are_the_store_of_one_run(
    data: Path, tmp_path: Path, of: int, clip_s: float
) -> None:
    """Made in any order, one of them interrupted at first, one of them twice; 9 parts of 6 shards
    leave some parts empty.
    """
    whole = audiocls.extract(data, "mel-16k", tmp_path / "whole", clip_s=clip_s)
    out = tmp_path / "store"
    order = np.random.default_rng(of).permutation(of) + 1
    with pytest.raises(KeyboardInterrupt):
        part(data, out, of, of, clip_s=clip_s, progress=stop)
    with pytest.raises(DataError, match=rf"parts.{of}-of-{of}: is unfinished"):
        merge(out)
    for number in [*order, order[0]]:
        # The last of 9 has nothing but the broken recording.
        part(data, out, int(number), of, clip_s=clip_s, accept_failures=of == 9)
    store = merge(out)
    assert contents(out) == contents(whole.path)
    assert np.array_equal(np.asarray(store.numpy()), np.asarray(whole.numpy()))
    # And the store is one: it can be extracted into, and its parts removed.
    shutil.rmtree(out / "parts")
    before = contents(out)
    audiocls.extract(data, "mel-16k", out, clip_s=clip_s)
    assert contents(out) == before


def test_parts_from_elsewhere_in_any_order_and_twice(
    data: Path, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = audiocls.extract(data, "mel-16k", tmp_path / "whole")
    again = part(data, tmp_path / "other machine", 2)
    folders = sorted((parts / "parts").iterdir(), reverse=True)

    def other_file_system(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_file_system)
    merge(tmp_path / "joined", [folders[0], again, *folders[1:], folders[0]])
    assert contents(tmp_path / "joined") == contents(whole.path)


def test_merging_again_changes_nothing(parts: Path) -> None:
    merge(parts)
    before = {file: file.stat().st_mtime_ns for file in parts.rglob("*") if file.name != ".lock"}
    merge(parts)
    after = {file: file.stat().st_mtime_ns for file in parts.rglob("*") if file.name != ".lock"}
    assert after == before


def test_a_merge_that_was_interrupted_is_done_again(
    data: Path, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = audiocls.extract(data, "mel-16k", tmp_path / "whole")
    link, links = os.link, [0]

    def full(source: Path, path: Path) -> None:
        links[0] += 1
        if links[0] == 5:
            raise KeyboardInterrupt
        link(source, path)

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(KeyboardInterrupt):
        merge(parts)
    assert not (parts / "store.json").exists()
    merge(parts)
    assert contents(parts) == contents(whole.path)


def test_a_finished_part_is_left_alone_and_a_damaged_one_made_again(
    data: Path, parts: Path
) -> None:
    folder = parts / "parts/3-of-5"
    before = contents(folder)
    times = {file: file.stat().st_mtime_ns for file in folder.rglob("*.npy")}
    assert part(data, parts, 3) == folder
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*.npy")} == times
    damaged = min(folder.glob("shards/*[0-9].npy"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match=r"3-of-5.shards.0000\d.npy has other contents"):
        merge(parts)
    part(data, parts, 3)
    assert contents(folder) == before


def test_killed_before_anything_is_described(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "store/parts/1-of-5"
    (folder / "shards").mkdir(parents=True)
    for name in (".lock", "recordings.csv.tmp", "recordings.csv"):
        (folder / name).write_bytes(b"")
    with pytest.raises(DataError, match="1-of-5: is unfinished"):
        merge(tmp_path / "store")
    part(data, tmp_path / "store", 1)


# --- what is refused ---


def other_settings(data: Path, parts: Path) -> None:
    shutil.rmtree(parts / "parts/2-of-5")
    part(data, parts, 2, clip_s=0.25)


def other_data(data: Path, parts: Path) -> None:
    copy = parts.parent / "copy"
    shutil.copytree(data, copy)
    (copy / "9.wav").touch()  # not of part 2
    shutil.rmtree(parts / "parts/2-of-5")
    part(copy, parts, 2)


def another_count(data: Path, parts: Path) -> None:
    part(data, parts, 1, 3)


def missing(_: Path, parts: Path) -> None:
    shutil.rmtree(parts / "parts/2-of-5")
    shutil.rmtree(parts / "parts/4-of-5")


def twice(data: Path, parts: Path) -> None:
    """As if a machine had other instructions: the same part, whole, with other bytes."""
    twin = parts / "parts/twin-of-2"
    shutil.copytree(parts / "parts/2-of-5", twin)
    about = json.loads((twin / "part.json").read_text())
    about["shards"][0]["files"]["npy"]["xxh128"] = 32 * "0"
    (twin / "part.json").write_text(json.dumps(about))


def no_part(_: Path, parts: Path) -> None:
    (parts / "parts/a-of-b").mkdir()


def broken_description(_: Path, parts: Path) -> None:
    (parts / "parts/2-of-5/part.json").write_text('{"format": "audiocls-store"}')


def another_first_shard(_: Path, parts: Path) -> None:
    """A part that claims the place of another."""
    shutil.copytree(parts / "parts/2-of-5", parts / "parts/3-of-5", dirs_exist_ok=True)
    file = parts / "parts/3-of-5/part.json"
    about = json.loads(file.read_text())
    about["part"]["number"] = 3
    file.write_text(json.dumps(about))


def changed_part(**changes: object) -> Callable[[Path, Path], None]:
    """All parts are said to be otherwise."""

    def spoil(_: Path, parts: Path) -> None:
        for file in (parts / "parts").glob("*/part.json"):
            about = json.loads(file.read_text())
            about["part"] |= {k: v for k, v in changes.items() if k in about["part"]}
            about |= {k: v for k, v in changes.items() if k in about}
            file.write_text(json.dumps(about))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (changed_part(of=2**53), r"740987 of 9007199254740992 parts missing: 6, .*, 10, …"),
        (changed_part(of=3), "4-of-5: is damaged, it is part 4 of 3|5-of-5: is damaged"),
        (changed_part(files=None), "is damaged, it has no checksums of its files"),
        (other_settings, r"2-of-5: was made with other .*: clip_s 0.5 in .*1-of-5, here 0.25"),
        (other_data, "2-of-5: was made from other data than .*1-of-5"),
        (another_count, "1-of-5: is one of 5 parts, .*1-of-3 of 3"),
        (missing, "2 of 5 parts missing: 2, 4; `audiocls extract DATA --shard 2/5` makes one"),
        (twice, "twin-of-2: is the same part as .*2-of-5 and has other contents"),
        (no_part, "a-of-b: is no part of a store"),
        (broken_description, "2-of-5.part.json"),
        (another_first_shard, "3-of-5.part.json: is damaged"),
    ],
)  # fmt: skip
def test_nothing_is_merged(
    data: Path, parts: Path, spoil: Callable[[Path, Path], None], message: str
) -> None:
    spoil(data, parts)
    with pytest.raises(DataError, match=message) as error:
        merge(parts)
    assert "\n" not in str(error.value)
    assert [entry.name for entry in parts.iterdir()] == ["parts"]


def test_no_parts_and_another_store(data: Path, parts: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"OUT .*empty.* is invalid: has no parts"):
        merge(tmp_path / "empty")
    folders = list((parts / "parts").iterdir())
    audiocls.extract(data, "mel-16k", tmp_path / "other", clip_s=0.25)
    before = contents(tmp_path / "other")
    with pytest.raises(SettingError, match=r"was made with clip_s 0\.25, now 0\.5"):
        merge(tmp_path / "other", folders)
    assert contents(tmp_path / "other") == before
    with pytest.raises(SettingError, match="is a folder with other files"):
        merge(data, folders)


def test_a_class_that_is_lost_is_seen_by_the_merge(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    for i in (2, 5, 8):  # class 2
        (copy / f"{i}.wav").write_bytes(b"")
    whole = audiocls.extract(copy, "mel-16k", tmp_path / "whole", accept_failures=True)
    for number in range(1, 4):
        part(copy, tmp_path / "store", number, 3, accept_failures=True)
    with pytest.raises(DataError, match=r"all of class class 2 among them.* Nothing is merged"):
        merge(tmp_path / "store")
    assert [entry.name for entry in (tmp_path / "store").iterdir()] == ["parts"]
    merge(tmp_path / "store", accept_failures=True)
    assert contents(tmp_path / "store") == contents(whole.path)


def test_a_part_of_which_most_fails_is_unfinished(data: Path, tmp_path: Path) -> None:
    """The data may be away on one machine; when it is back, the same command goes on."""
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    whole = audiocls.extract(copy, "mel-16k", tmp_path / "whole")

    listed = planning.list_recordings

    def then_away(*args: Any, **kwargs: Any) -> Any:
        listing = listed(*args, **kwargs)
        for i in range(4):
            (copy / f"{i}.wav").rename(copy / f"{i}.away")
        return listing

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "list_recordings", then_away)
        with pytest.raises(DataError, match=r"4 of 4 recordings failed.*left unfinished"):
            part(copy, tmp_path / "store", 1, 3)
    for i in range(4):
        (copy / f"{i}.away").rename(copy / f"{i}.wav")
    for number in (1, 2, 3):
        part(copy, tmp_path / "store", number, 3)
    merge(tmp_path / "store")
    assert contents(tmp_path / "store") == contents(whole.path)


def test_a_part_of_other_data_is_not_overwritten(data: Path, tmp_path: Path) -> None:
    copy, out = tmp_path / "data", tmp_path / "store"
    shutil.copytree(data, copy)
    part(copy, out, 1, 3)
    before = contents(out / "parts/1-of-3")
    with pytest.raises(SettingError, match=r"was made with clip_s 0\.5, now 0\.25"):
        part(copy, out, 1, 3, clip_s=0.25)
    (copy / "9.wav").touch()
    with pytest.raises(DataError, match="recordings of other parts have changed"):
        part(copy, out, 1, 3)
    (copy / "0.wav").touch()
    with pytest.raises(DataError, match=r"1 changed \(0.wav\)"):
        part(copy, out, 1, 3)
    assert contents(out / "parts/1-of-3") == before
    part(copy, out, 1, 3, restart=True)
    with pytest.raises(KeyboardInterrupt):
        part(copy, out, 1, 1, progress=stop)
    with pytest.raises(DataError, match="it is a part"):
        audiocls.extract(copy, "mel-16k", out / "parts/1-of-1")


# --- the command line ---


def cli(*args: object) -> Result:
    return CliRunner().invoke(main, [*map(str, args)])


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1/0", "-1/3", "1", "1/", "/3", "a/b", "1/3/5"])
def test_shards_that_cannot_be(data: Path, tmp_path: Path, shard: str) -> None:
    run = cli("extract", data, "--out", tmp_path / "store", "--shard", shard)
    assert run.exit_code == 2
    assert f"--shard '{shard}' is invalid: must be I/N with 1 <= I <= N" in run.stderr
    assert not (tmp_path / "store").exists()


def test_the_commands(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "store"
    extract = ("extract", data, "--feature", "mel-16k", "--out", out, "--shard")
    first = cli(*extract, "1/2", "--json")
    assert json.loads(first.stdout)["part"] == str(out / "parts/1-of-2")
    run = cli("merge", out)
    assert (run.exit_code, run.stdout) == (1, "")
    assert run.stderr.startswith("audiocls merge: 1 of 2 parts missing: 2;")
    second = cli(*extract, "2/2")
    assert "1 of 5 recordings failed" in second.stdout
    assert f"next: audiocls merge {out}" in second.stderr
    summary = json.loads(cli("merge", out, "--json").stdout)
    assert (summary["recordings"], summary["failed"]) == (11, 1)
    assert "1 of 11 recordings failed" in cli("merge", out).stdout


def test_parts_made_at_the_same_time(data: Path, tmp_path: Path) -> None:
    """By processes that know nothing of each other, as a scheduler starts them."""
    code = (
        "import sys; from audiocls.store import planning; planning.SHARD_RECORDINGS = 2\n"
        "from audiocls.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "extract", data, "--feature", "mel-16k"]
    command += ["--out", tmp_path / "store", "--shard"]
    running = [subprocess.Popen([*command, f"{i}/2"], stderr=subprocess.PIPE) for i in (1, 2)]
    assert [process.communicate() and process.returncode for process in running] == [0, 0]
    merge(tmp_path / "store")
    whole = audiocls.extract(data, "mel-16k", tmp_path / "whole")
    assert contents(tmp_path / "store") == contents(whole.path)


def test_a_part_that_is_killed_goes_on(data: Path, tmp_path: Path) -> None:
    """SIGKILL when one of its two shards is there: the same command makes the other one."""
    code = (
        "import os, signal, sys; from audiocls.store import extraction, planning\n"
        "planning.SHARD_RECORDINGS = 2\n"
        "def kill(progress):\n"
        "    shards = extraction.Path(sys.argv[2]) / 'parts/1-of-3/shards'\n"
        "    if list(shards.glob('*.recordings.jsonl')):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "extraction.extract_part(sys.argv[1], 'mel-16k', sys.argv[2], shard=(1, 3), threads=1,"
        " progress=kill)"
    )
    copy, out = tmp_path / "data", tmp_path / "store"
    shutil.copytree(data, copy)
    # The second shard has a long recording, and is not there when the first is seen.
    write(copy / "2.wav", 4_000)
    whole = audiocls.extract(copy, "mel-16k", tmp_path / "whole")
    killed = subprocess.run([sys.executable, "-c", code, copy, out], check=False)
    assert killed.returncode == -signal.SIGKILL
    folder = out / "parts/1-of-3"
    assert not (folder / "part.json").exists()
    with pytest.raises(DataError, match="1-of-3: is unfinished"):
        merge(out)
    for number in (1, 2, 3):
        part(copy, out, number, 3)
    merge(out)
    assert contents(out) == contents(whole.path)
