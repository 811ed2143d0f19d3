"""What a trainer gets at that it should not, and what it must be able to do: unconfined, in Landlock, as another user."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.conf import settings as project

from runs import services
from runs.execution import landlock
from runs.rundir import RunDirectory
from runs.tests.execution.engine import database_url, environment, launch, supervisor_of, trainers_of, until, wait_for
from runs.tests.helpers import create_dataset, executable
from runs.tests.strangers import STRANGER, as_stranger, open_directory, reaching, set_home

INTRUDER = Path(__file__).with_name("intruder.py")
# One that every user can run.
PYTHON = "/usr/bin/python3"
LANDLOCK = {"TUNIX_RT_CONFINE": "landlock"}
OTHER_USER = {"TUNIX_RT_CONFINE": "off", "TUNIX_RT_RUN_AS": "nobody"}
BOTH = {"TUNIX_RT_CONFINE": "landlock", "TUNIX_RT_RUN_AS": "nobody"}
CONFINED = [LANDLOCK, OTHER_USER, BOTH] if os.geteuid() == 0 else [LANDLOCK]
NAMES = ["landlock", "another user", "both"][: len(CONFINED)]
each_confinement = pytest.mark.parametrize("confined", CONFINED, ids=NAMES)
as_root = pytest.mark.parametrize("confined", CONFINED[1:], ids=NAMES[1:])


@pytest.fixture(autouse=True)
def data_dir(settings):
    """A home that everybody can reach; pytest's own directories are the tester's alone."""
    with open_directory() as place:
        home = place / "home"
        set_home(settings, home)
        settings.UNRECORDED_DIR.mkdir()
        for name in ("secret-key", "tunix-rt.sqlite3", "tunix-rt.sqlite3-wal", "unrecorded/x.json"):
            (home / name).write_text("of nobody's business")
        cache = place / "cache"
        cache.mkdir(mode=0o777)
        cache.chmod(0o777)
        yield home


@pytest.fixture
def intrude(engine, data_dir):
    """Start a dispatcher with these settings, and the intruder in a run of its own; the other run is `other`."""
    create_dataset("other", "v1")
    other = RunDirectory("00000000-0000-4000-8000-000000000001").path
    other.mkdir(parents=True)
    (other / "stdout.log").write_text("of another run")
    database = database_url().removeprefix("sqlite:///") if "sqlite" in database_url() else ""
    targets = ":".join(map(str, (data_dir, database, os.getpid(), other, project.BASE_DIR)))

    def start(confined):
        values = {
            "HF_HOME": str(data_dir.parent / "cache"),
            "HF_TARGETS": targets,
            "TUNIX_COMMAND": f"{PYTHON} {INTRUDER}",
        }
        engine.dispatcher(**(values | confined))
        return launch("x")

    return start


def found(run) -> dict:
    path = RunDirectory(run.run_id).path / "found.json"
    assert path.exists(), run.stderr + run.stdout
    return json.loads(path.read_text())


def taken(worked, kind) -> dict:
    return {name: worked[name] for name in worked["names"][kind] if worked[name] is True}


def test_unconfined_it_gets_everything(intrude):
    """Or the other tests would see nothing."""
    run = intrude({"TUNIX_RT_CONFINE": "off"})
    run = wait_for(run)
    worked = found(run)
    assert taken(worked, "taken").keys() == set(worked["names"]["taken"])
    assert run.provenance["confinement"] == {"files": None, "user": None}


@each_confinement
def test_it_gets_nothing_and_can_train(intrude, confined):
    run = intrude(confined)
    run = wait_for(run)
    assert run.status == "completed", run.stderr
    worked = found(run)
    assert {name: worked[name] for name in worked["names"]["needed"] if worked[name] is not True} == {}
    assert taken(worked, "taken") == {}
    if "TUNIX_RT_RUN_AS" in confined:
        assert taken(worked, "supervisor") == {}
        assert worked["user"] == [STRANGER, STRANGER, [STRANGER]]
        assert worked["environment"]["USER"] == "nobody"
    assert worked["files"] == [] and worked["cwd"] == str(RunDirectory(run.run_id).path)
    assert not [name for name in worked["environment"] if name.startswith(("TUNIX_RT_SECRET", "DATABASE"))]
    assert (run.step, run.total_steps) == (1, 1), "metrics and facts arrive"


@each_confinement
def test_the_record_and_the_page_say_which(intrude, client, confined):
    run = intrude(confined)
    run = wait_for(run)
    files = f"Landlock, ABI {landlock.abi()}" if confined["TUNIX_RT_CONFINE"] == "landlock" else None
    said = {"files": files, "user": confined.get("TUNIX_RT_RUN_AS")}
    assert run.provenance["confinement"] == said, "not what the trainer says"
    assert json.loads(RunDirectory(run.run_id).record.read_text())["provenance"]["confinement"] == said
    page = " ".join(client.get(f"/runs/{run.run_id}/").content.decode().split())
    shown = files or "none: what its Unix user may"
    assert f"<dt>Confinement</dt><dd>{shown}{', as the user nobody' if said['user'] else ''}</dd>" in page


# --- the supervisor's work --------------------------------------------------------------------------------------------


def stubborn(place: Path) -> str:
    """A trainer of shells that ignores SIGTERM, with a grandchild that has left the session."""
    script = executable(
        place / "stubborn", "trap '' TERM\nsetsid sleep 300 &\nsetsid -f sleep 300\nsleep 300\nsleep 300"
    )
    return str(script)


def living(run):
    return [process for process in trainers_of(run) if process.status() != "zombie"]


@each_confinement
@pytest.mark.parametrize("how", ["cancel", "timeout", "kill -9"])
def test_nothing_of_it_survives(engine, data_dir, confined, how):
    limits = {"TUNIX_RT_GRACE_SECONDS": "1", "TUNIX_RT_LEASE_SECONDS": "6", "TUNIX_RT_HEARTBEAT_SECONDS": "1"}
    engine.dispatcher(TUNIX_COMMAND=stubborn(data_dir.parent), **limits, **confined)
    run = wait_for(launch("x", **({"timeout_seconds": 2} if how == "timeout" else {})), "running")
    until(lambda: len(living(run)) >= 4)
    if how == "cancel":
        services.cancel(run)
    elif how == "kill -9":
        os.kill(supervisor_of(run), signal.SIGKILL)
        time.sleep(0.5)
        assert not [p for p in living(run) if p.name() == "stubborn"], "the kernel ends its child at once"
    run = wait_for(run, "cancelled", "timeout", "lost")
    assert run.status == {"cancel": "cancelled", "timeout": "timeout", "kill -9": "lost"}[how]
    until(lambda: not living(run))


@each_confinement
def test_how_it_ends_is_told_as_ever(engine, data_dir, confined):
    engine.dispatcher(TUNIX_COMMAND=str(executable(data_dir.parent / "crash", "kill -SEGV $$")), **confined)
    run = wait_for(launch("x"))
    assert (run.exit_code, run.message) == (-11, "Local execution failed: killed by signal SIGSEGV")
    engine.stop()
    engine.dispatcher(
        TUNIX_COMMAND=str(
            executable(
                data_dir.parent / "end", "trap 'echo saved; exit 143' TERM\necho on\nwhile :; do sleep 300 & wait; done"
            )
        ),
        **confined,
    )
    run = launch("x")
    until(
        lambda: RunDirectory(run.run_id).log("stdout").exists() and RunDirectory(run.run_id).log("stdout").read_text()
    )
    services.cancel(wait_for(run, "running"))
    run = wait_for(run)
    assert (run.status, run.exit_code, run.stdout) == ("cancelled", 143, "on\nsaved\n")


# --- another user -----------------------------------------------------------------------------------------------------


@as_root
def test_his_run_is_closed_to_him_when_it_has_ended_and_is_removed_with_all_that_is_his(intrude, confined):
    run = intrude(confined)
    run = wait_for(run)
    path = RunDirectory(run.run_id).path
    owners = {each.name: each.lstat().st_uid for each in path.rglob("*")}
    assert owners["metrics.jsonl"] == owners["moved"] == STRANGER
    assert {owners[name] for name in ("exit.json", "run.json", "stdout.log", "supervisor.log")} == {os.geteuid()}
    assert as_stranger("ls", path).returncode != 0
    services.delete(run)
    run.refresh_from_db()
    assert services.free_from_trash([run]) == 1
    assert not path.exists()


WRONG = [
    ({"TUNIX_RT_RUN_AS": "no-such-user"}, "TUNIX_RT_RUN_AS names no user of this machine: 'no-such-user'."),
    ({"TUNIX_RT_RUN_AS": "root"}, "TUNIX_RT_RUN_AS=root confines nothing"),
    ({"TUNIX_RT_CONFINE": "bwrap"}, "TUNIX_RT_CONFINE must be one of auto, landlock, off, not 'bwrap'."),
    ({"TUNIX_RT_TRAINER_UMASK": "rw"}, "TUNIX_RT_TRAINER_UMASK must be an octal number such as 022."),
    ({"TUNIX_RT_TRAINER_READS": "/a:b"}, "TUNIX_RT_TRAINER_READS must be absolute paths with colons between them"),
]


@pytest.mark.parametrize(("change", "sentence"), WRONG)
def test_what_is_wrong_stops_the_dispatcher_with_a_sentence(engine, data_dir, change, sentence):
    assert engine.dispatcher(**change).wait(30) != 0
    said = (data_dir / "dispatcher.log").read_text()
    assert sentence in said and "Traceback" not in said


def test_without_the_rights_it_does_not_start(engine, data_dir):
    lacking = ["setpriv", "--bounding-set=-setuid,-setgid", "--"] if os.geteuid() == 0 else []
    process = engine.dispatcher(before=lacking, TUNIX_RT_RUN_AS="nobody")
    assert process.wait(30) == 1
    said = (data_dir / "dispatcher.log").read_text()
    assert "TUNIX_RT_RUN_AS=nobody: this process may not act for that user (Operation not permitted)." in said
    assert "Traceback" not in said


def test_a_dispatcher_that_is_not_root_has_what_it_needs(engine, data_dir, settings):
    """As docs/operations.md has it: a user of the server's own, a member of the trainers' group, with capabilities."""
    if os.geteuid() != 0:
        return  # it takes root to become that user
    server, rights = 61234, "+setuid,+setgid,+kill,+sys_ptrace,+dac_override,+fowner"
    for path in (data_dir, *data_dir.rglob("*")):
        os.chown(path, server, server)
    (data_dir / "datasets").chmod(0o700)
    become = ["setpriv", f"--reuid={server}", f"--regid={server}", f"--groups={STRANGER}"]
    become += [f"--inh-caps={rights}", f"--ambient-caps={rights}", "--"]
    url = f"sqlite:///{data_dir / 'own.sqlite3'}"
    script = (
        'test "$(id -un)" = nobody && grep CapEff /proc/self/status && echo w >weights; mkdir -m 700 mine; sleep 300'
    )
    command = str(executable(data_dir.parent / "script", script))
    values = environment(TUNIX_RT_RUN_AS="nobody", TUNIX_COMMAND=command, DATABASE_URL=url, HOME=str(data_dir))

    def manage(*arguments, **how):
        argv = [*reaching(Path(sys.executable)), *become, sys.executable, "manage.py", *arguments]
        return subprocess.Popen(argv, env=values, cwd=project.BASE_DIR, stdout=subprocess.PIPE, text=True, **how)

    (data_dir / "tunix-rt.sqlite3").unlink()
    assert manage("migrate", "--verbosity=0").wait(120) == 0
    training = manage("train", "arithmetic-v1", "x", "--timeout-seconds", "5")
    said, _ = training.communicate(timeout=120)
    (path,) = [each for each in (data_dir / "runs").iterdir() if (each / "exit.json").exists()]
    result = json.loads((path / "exit.json").read_text())
    assert result["status"] == "timeout", said
    assert result["stdout"] == "CapEff:\t0000000000000000\n", "none of the dispatcher's capabilities is the trainer's"
    assert (path / "weights").stat().st_uid == STRANGER and (path / "stdout.log").stat().st_uid == server


# --- where it lies ----------------------------------------------------------------------------------------------------


@pytest.fixture
def results():
    """A directory that no rule of ours names: it is neither in the home nor where temporary files are."""
    with open_directory(project.BASE_DIR) as path:
        path.chmod(0o777)
        yield path


@each_confinement
def test_what_somebody_named_is_open(engine, data_dir, results, confined):
    """A model inside of the home; a directory for results outside of it."""
    models = data_dir / "models"
    models.mkdir()
    models.chmod(0o777)
    (models / "config.json").write_text("{}")
    (models / "config.json").chmod(0o644)
    script = f"cat {models}/config.json\necho w >{results}/weights || exit 3\necho w >{models}/x && exit 4\nexit 0"
    command = str(executable(data_dir.parent / "script", script))
    engine.dispatcher(
        TUNIX_COMMAND=command, TUNIX_RT_TRAINER_READS=str(models), TUNIX_RT_TRAINER_WRITES=str(results), **confined
    )
    run = wait_for(launch("x"))
    assert run.stdout == "{}", run.stderr
    assert run.exit_code == (4 if confined is OTHER_USER else 0), run.stderr
    assert (results / "weights").exists()


def test_what_nobody_named_is_not_written(engine, data_dir, results):
    command = str(executable(data_dir.parent / "script", f"echo w >{results}/weights"))
    engine.dispatcher(TUNIX_COMMAND=command)
    run = wait_for(launch("x"))
    assert run.status == "failed" and "Permission denied" in run.stderr


def test_a_link_that_a_trainer_put_into_a_cache_opens_nothing(intrude, data_dir, results):
    """The next one would have what it leads to."""
    cache = data_dir.parent / "cache"
    (cache / "hub").symlink_to(data_dir)
    (cache / "assets").symlink_to(results)
    (cache / "xet").symlink_to(data_dir / "secret-key")
    run = intrude(
        LANDLOCK
        | {
            "HF_HUB_CACHE": str(cache / "hub" / "runs"),
            "HF_ASSETS_CACHE": str(cache / "assets"),
            "HF_XET_CACHE": str(cache / "xet"),
            "HF_LINKED": str(results),
        }
    )
    worked = found(wait_for(run))
    assert taken(worked, "taken") == {} and worked["write where a link leads"] is not True


def test_landlock_is_used_where_nothing_is_said(intrude):
    assert landlock.abi() >= landlock.OLDEST, "this kernel has none: nothing is tried here"
    run = intrude({})
    assert taken(found(wait_for(run)), "taken") == {}


@as_root
def test_a_resumed_run_reads_the_checkpoint_of_another(engine, data_dir, confined):
    script = (
        "d=$(find $TUNIX_RT_RUN_DIR -name checkpoints)\n"
        'if [ "$d" ]; then cat $d/5/weights; mkdir $d/6; exit; fi\n'
        "o=$(sed -n 's/.*output_dir: //p' manifest.yaml | head -1)\n"
        "mkdir -p $o/checkpoints/5; echo learnt >$o/checkpoints/5/weights; touch $o/checkpoints/5/commit_success.txt; exit 1"
    )
    engine.dispatcher(TUNIX_COMMAND=str(executable(data_dir.parent / "script", script)), **confined)
    first = wait_for(launch("x"))
    second = wait_for(services.retry(first, resume=True))
    assert (second.status, second.stdout) == ("completed", "learnt\n"), first.stderr + second.stderr


@pytest.mark.parametrize("umask", ["022", "027"])
def test_a_trainer_has_the_umask_of_who_started_the_server(engine, data_dir, umask):
    """Caches that are shared with a group stay so. The run's own directory lies in the home, which is closed."""
    before = ["env", "--unset=TUNIX_RT_TRAINER_UMASK", "sh", "-c", f'umask {umask} && exec "$@"', "sh"]
    engine.dispatcher(before=before, TUNIX_COMMAND=str(executable(data_dir.parent / "script", "umask")))
    assert wait_for(launch("x")).stdout == f"0{umask}\n"


def test_open_descriptors_and_dumps(engine, data_dir):
    script = "ulimit -c; ls /proc/self/fd"
    engine.dispatcher(TUNIX_COMMAND=str(executable(data_dir.parent / "script", script)))
    run = wait_for(launch("x"))
    assert run.stdout.split()[:4] == ["0", "0", "1", "2"]
