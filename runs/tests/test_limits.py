"""What is bounded for everybody's sake: launches a minute, room on the disk, sizes; and what the headers forbid."""

from types import SimpleNamespace

import pytest
from django.test import Client

from runs import services
from runs.models import Event, NeverChanges, TunixRun
from runs.tests.helpers import CONFIG, LAUNCH, arithmetic_rows, assert_error, create_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def free_bytes(monkeypatch):
    """Says how many bytes are free, in place of the file system."""

    def say(free):
        disk = SimpleNamespace(f_bavail=free, f_frsize=1, f_flag=0, f_files=0)
        monkeypatch.setattr("runs.room.os.statvfs", lambda _: disk)

    return say


def test_launches_a_minute_are_counted_for_each_user(api, dataset, settings):
    settings.LAUNCHES_PER_MINUTE = 3
    for _ in range(2):
        assert api.post("/api/tunix/run", LAUNCH).status_code == 200
    run = TunixRun.objects.first()
    assert api.post(f"/api/tunix/runs/{run.run_id}/retry", {}).status_code == 201
    answer = api.post("/api/tunix/run", LAUNCH)
    assert_error(answer, 429, "You may launch 3 runs a minute. Try again shortly.")
    assert answer.headers["Retry-After"] == "60"
    assert_error(api.post(f"/api/tunix/runs/{run.run_id}/retry", {}), 429)
    assert TunixRun.objects.count() == 3
    form = {"dataset_key": "arithmetic-v1", "model_id": "a/b", **{name: CONFIG[name] or 0 for name in CONFIG}}
    page = Client().post("/launch/", form, follow=True)
    assert "You may launch 3 runs a minute" in page.content.decode()
    services.launch(services.LaunchRequest("arithmetic-v1", "a/b", CONFIG))  # a command is not limited
    assert TunixRun.objects.count() == 4
    Event.objects.all()._raw_delete(using="default")
    assert api.post("/api/tunix/run", LAUNCH).status_code == 200


def test_a_disk_that_is_almost_full_takes_nothing_new(api, dataset, settings, free_bytes, engine_command):
    free_bytes(settings.MIN_FREE_BYTES - 1)
    sentence = f"{settings.MIN_FREE_BYTES - 1:,} bytes are free on the disk, and {settings.MIN_FREE_BYTES:,} stay free"
    answer = api.post("/api/tunix/run", LAUNCH | {"dry_run": False})
    assert sentence in assert_error(answer, 507)["detail"]
    upload = "/api/datasets?dataset_name=b&dataset_version=v1"
    answer = api.post(upload, arithmetic_rows(), content_type="application/x-ndjson")
    assert sentence in assert_error(answer, 507)["detail"]
    assert not TunixRun.objects.exists()
    assert api.post("/api/tunix/run", LAUNCH).status_code == 200, "a dry run needs no room"
    free_bytes(settings.MIN_FREE_BYTES + 10**9)
    assert api.post(upload, arithmetic_rows(), content_type="application/x-ndjson").status_code == 201


@pytest.fixture
def engine_command(settings):
    settings.TUNIX_COMMAND = "true"


def test_a_body_that_would_fill_the_disk_is_refused_before_it_is_read(settings, free_bytes):
    """Whoever sends it, and to which address."""
    free_bytes(settings.MIN_FREE_BYTES + 10_000_000)
    for path in ("/datasets/", "/api/datasets?dataset_name=b&dataset_version=v1", "/launch/"):
        body = b"x" * 10_000_001
        answer = Client().post(path, body, content_type="multipart/form-data; boundary=B")
        assert answer.status_code == 507, path
    settings.MAX_UPLOAD_BYTES = 1000
    answer = Client().post("/datasets/", b"x" * 2_000_000, content_type="multipart/form-data; boundary=B")
    assert answer.status_code == 413


def test_a_dataset_has_most_rows(api, settings, data_dir):
    settings.MAX_UPLOAD_ROWS = 99
    answer = api.post(
        "/api/datasets?dataset_name=b&dataset_version=v1", arithmetic_rows(100), content_type="application/x-ndjson"
    )
    assert_error(answer, 413, "A dataset may have 99 rows. Nothing was stored.")


@pytest.mark.parametrize("path", ["/", "/runs/", "/api/tunix/runs", "/api/docs", "/admin/", "/nothing/", "/healthz"])
def test_every_answer_has_its_headers(path):
    headers = Client().get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy and "object-src 'none'" in policy
    scripts = [part for part in policy.split("; ") if part.startswith(("script-src", "default-src"))]
    assert not any("unsafe" in part for part in scripts)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "Strict-Transport-Security" not in headers, "not over plain HTTP"


def test_over_https_browsers_are_told_to_stay_there():
    answer = Client().get("/runs/", secure=True)
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains; preload"


def test_cookies_are_secure_but_on_this_very_machine(settings):
    settings.ALLOWED_HOSTS = ["localhost", "forge.example", "testserver"]
    for host, secure in (("localhost:8000", ""), ("forge.example", True)):
        cookie = Client().get("/", headers={"Host": host}).cookies["csrftoken"]
        assert cookie["secure"] == secure
        assert cookie["samesite"] == "Lax"
    assert Client().get("/", headers={"Host": "localhost"}, secure=True).cookies["csrftoken"]["secure"] is True


@pytest.mark.parametrize(
    ("address", "status"), [("127.0.0.1", 200), ("::1", 200), ("192.0.2.1", 403), ("nonsense", 403)]
)
def test_without_a_login_only_this_machine_is_answered(address, status):
    assert Client(REMOTE_ADDR=address).get("/runs/").status_code == status


def test_what_a_run_wrote_is_never_markup(client):
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>\x1b]8;;javascript:alert(1)\x07link\x1b]8;;\x07"
    run = create_run(stdout=evil, stderr=evil, message=evil[:50], notes=evil[:50], model_id="<b>x", tags=("<i>t",))
    for path in ("/", "/runs/", f"/runs/{run.run_id}/", f"/runs/{run.run_id}/row/", f"/runs/{run.run_id}/log/"):
        page = client.get(path).content.decode()
        for mark in ("<script>alert", "<img src=x", "<b>x", "<i>t", 'javascript:alert(1)"'):
            assert mark not in page, path


def test_an_event_never_changes(api):
    run = create_run()
    api.patch(f"/api/tunix/runs/{run.run_id}", {"notes": "x"})
    event = Event.objects.get()
    for act in (event.save, event.delete, Event.objects.all().delete, lambda: Event.objects.update(actor="x")):
        with pytest.raises(NeverChanges):
            act()
    api.delete(f"/api/tunix/runs/{run.run_id}?purge=true")
    assert [each.act for each in Event.objects.filter(run_id=run.run_id)] == ["purge", "annotate"]
