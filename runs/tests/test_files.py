"""files.py: nothing that a script puts below a directory makes it wait, leave the directory, or go on without end."""

import os
import socket
import threading
import time
from pathlib import PurePosixPath

import pytest

from core import files

SECRET = b"of another's"


@pytest.fixture
def outside(tmp_path):
    path = tmp_path / "outside"
    path.mkdir()
    (path / "secret").write_bytes(SECRET)
    return path


@pytest.fixture
def inside(tmp_path):
    path = tmp_path / "inside"
    (path / "output" / "deep").mkdir(parents=True)
    (path / "output" / "deep" / "file").write_bytes(b"ours")
    return path


def read(inside, path):
    return files.read(inside, path, 1000)


def within(seconds, act):
    """What `act` gives; it must not wait for anybody."""
    found = []
    thread = threading.Thread(target=lambda: found.append(_result(act)), daemon=True)
    thread.start()
    thread.join(seconds)
    assert found, "it waits"
    return found[0]


def _result(act):
    try:
        return act()
    except OSError as error:
        return error


@pytest.mark.parametrize(
    "path", ["output/deep/file", "./output/../output/deep/file", "link", "up/deep/file", "chain", "output/deep/back"]
)
def test_links_inside_are_followed(inside, path):
    (inside / "link").symlink_to("output/deep/file")
    (inside / "up").symlink_to("./output/deep/..")
    (inside / "chain").symlink_to("link")
    (inside / "output" / "deep" / "back").symlink_to("../../link")
    assert read(inside, path) == b"ours"


def test_no_path_leads_out(inside, outside):
    (inside / "relative").symlink_to("../outside/secret")
    (inside / "absolute").symlink_to(outside / "secret")
    (inside / "directory").symlink_to(outside)
    (inside / "output" / "deep" / "far").symlink_to("../../../outside/secret")
    (inside / "process").symlink_to("/proc/self/environ")
    (inside / "again").symlink_to(inside / "output" / "deep" / "file")
    paths = ["relative", "absolute", "directory/secret", "output/deep/far", "process", "again", "../outside/secret"]
    for path in paths:
        with pytest.raises(OSError, match="A link leads out"):
            read(inside, path)
    (inside / "circle").symlink_to("circle")
    with pytest.raises(OSError, match="Too many links"):
        read(inside, "circle")


def test_the_directory_itself_is_no_link(inside, outside, tmp_path):
    (tmp_path / "stands-for-it").symlink_to(outside)
    with pytest.raises(OSError, match="Its directory is a link"):
        read(tmp_path / "stands-for-it", "secret")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (os.mkfifo, "It is a named pipe, not a file"),
        (lambda path: socket.socket(socket.AF_UNIX).bind(str(path)), "It is a socket, not a file"),
        (lambda path: path.mkdir(), "It is a directory, not a file"),
        (lambda path: os.mknod(path, 0o020666, os.makedev(1, 5)), "It is a device, not a file"),
    ],
)
def test_what_is_no_file_is_not_opened(inside, make, said, monkeypatch):
    monkeypatch.chdir(inside)  # a socket's path may have 108 bytes
    try:
        make(inside.relative_to(inside) / "it")
    except PermissionError:
        assert os.geteuid() != 0  # a device, which only root makes
        return
    error = within(5, lambda: read(inside, "it"))
    assert error.strerror == said


def test_a_file_is_bounded(inside):
    with (inside / "huge").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(OSError, match="more than 1,000 bytes"):
        within(5, lambda: read(inside, "huge")) and read(inside, "huge")


def test_a_script_that_swaps_a_component_meanwhile_gains_nothing(inside, outside):
    """A directory and a link to one outside that take turns under one name, as fast as they can."""
    (inside / "a").mkdir()
    (inside / "a" / "secret").write_bytes(b"ours")
    (inside / "b").symlink_to(outside)
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            for one, other in (("a", "kept"), ("b", "a"), ("a", "b"), ("kept", "a")):
                os.rename(inside / one, inside / other)  # noqa: PTH104

    thread = threading.Thread(target=swap)
    thread.start()
    seen, deadline = set(), time.monotonic() + 3
    while time.monotonic() < deadline:
        try:
            seen.add(read(inside, "a/secret"))
            seen.update(entry.path for entry in files.walk(inside, "a", most=10))
        except OSError as error:
            seen.add(type(error))
    stop.set()
    thread.join()
    assert b"ours" in seen and SECRET not in seen


def test_a_walk_sees_everything_and_follows_nothing(inside, outside):
    (inside / "out").symlink_to(outside)
    os.mkfifo(inside / "pipe")
    found = {str(entry.path): entry.is_directory for entry in files.walk(inside, most=100)}
    assert found == {
        "output": True, "output/deep": True, "output/deep/file": False, "out": False, "pipe": False,
    }  # fmt: skip


def test_a_walk_has_an_end(inside):
    for number in range(50):
        (inside / str(number)).touch()
    seen = []
    with pytest.raises(files.TooMany):
        seen.extend(entry.path for entry in files.walk(inside, most=20))
    nest(inside / "nested", 3000)
    with pytest.raises(OSError, match="Too many links or directories"):
        list(files.walk(inside, "nested", most=10_000))
    assert len(list(files.walk(inside, most=10_000, lenient=True))) < 150
    files.remove_tree(inside / "nested")  # pytest could not


def nest(path, levels):
    """So deep that no path reaches the bottom."""
    path.mkdir()
    here = os.open(path, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d" * 10, dir_fd=here)
        inner = os.open("d" * 10, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)


def test_what_is_nested_deeper_than_a_path_can_say_is_removed(inside, outside):
    nest(inside / "nested", 3000)
    (inside / "link").symlink_to(outside)
    (inside / "output").chmod(0)
    files.remove_tree(inside)
    assert not inside.exists() and (outside / "secret").read_bytes() == SECRET
    files.remove_tree(inside)  # as often as one likes


# --- writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pipe", "link", "dangling", "directory", "full directory", "file"])
@pytest.mark.parametrize("name", ["run.json", "run.json.partial"])
def test_what_stands_in_the_way_is_replaced(inside, outside, kind, name):
    path = inside / name
    {
        "pipe": lambda: os.mkfifo(path),
        "link": lambda: path.symlink_to(outside / "secret"),
        "dangling": lambda: path.symlink_to("nowhere"),
        "directory": path.mkdir,
        "full directory": lambda: (path / "x").mkdir(parents=True),
        "file": lambda: path.write_bytes(b"before"),
    }[kind]()
    assert within(5, lambda: files.write_whole(inside, "run.json", b"{}")) is None
    assert (inside / "run.json").read_bytes() == b"{}" and not (inside / "run.json").is_symlink()
    assert (outside / "secret").read_bytes() == SECRET
    assert not (inside / "run.json.partial").exists()


def test_a_directory_is_made_inside_only(inside, outside):
    files.make_directory(inside, "output/a/../b/c")
    assert (inside / "output" / "b" / "c").is_dir()
    (inside / "out").symlink_to(outside)
    for path in ("out/new", "../new", "output/../../new"):
        with pytest.raises(OSError, match="A link leads out"):
            files.make_directory(inside, path)
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]
    assert not (inside.parent / "new").exists()


def test_a_link_to_a_file_is_no_copy_and_none_of_what_lies_outside(inside, outside, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    files.link_or_copy(inside, PurePosixPath("output/deep/file"), target, PurePosixPath("x/y"))
    assert (target / "x" / "y").samefile(inside / "output" / "deep" / "file")
    (inside / "secret").symlink_to(outside / "secret")
    with pytest.raises(OSError, match="A link leads out"):
        files.link_or_copy(inside, PurePosixPath("secret"), target, PurePosixPath("z"))
    assert not (target / "z").exists()
