"""Every page in a browser: its forms, its filters, its width, what axe says of it, and without script."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.db import connection
from django.utils import timezone
from playwright.sync_api import expect

from runs import datasets, metrics, services
from runs.models import SavedView, TunixRun
from runs.tests.helpers import arithmetic_rows, create_checkpoint, create_run

pytestmark = pytest.mark.django_db(transaction=True)
ANY_ID = re.compile("[0-9a-f]{8}-[0-9a-f-]{27}")


def test_dry_run_is_launched_in_place(site, dataset):
    site.goto(site.base)
    site.get_by_label("Learning rate").fill("1e-4")
    site.get_by_role("button", name="Dry run").click()
    expect(site.get_by_text("Dry run passed in")).to_be_visible()
    run = TunixRun.objects.get()
    assert (run.status, run.config["learning_rate"]) == ("completed", 1e-4)
    site.get_by_role("link", name=run.short_id).click()
    expect(site.get_by_role("heading", level=1)).to_contain_text("tunix-rt/tiny-qwen3 on arithmetic-v1")


def test_launch_form_says_what_is_wrong_and_keeps_what_was_typed(site, dataset):
    site.goto(site.base)
    site.get_by_label("Epochs").fill("101")
    site.get_by_role("button", name="Dry run").click()
    expect(site.get_by_text("must be between 1 and 100")).to_be_visible()
    expect(site.get_by_label("Epochs")).to_have_value("101")
    assert not TunixRun.objects.exists()


def test_a_number_out_of_bounds_is_said_before_anything_is_sent(site, dataset):
    sent = []
    site.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    site.goto(site.base)
    rate = site.get_by_label("Learning rate")
    for wrong in ("0", "2", "much", "-1e-3"):
        rate.fill(wrong)
        rate.blur()
        expect(site.get_by_text("must be greater than 0 and at most 1")).to_be_visible()
        expect(rate).to_have_attribute("aria-invalid", "true")
    rate.fill("1e-4")
    expect(site.get_by_text("must be greater than 0 and at most 1")).not_to_be_visible()
    site.get_by_text("More settings").click()
    site.get_by_label("Seed").fill("1.5")
    site.get_by_text("More settings").click()
    site.get_by_role("button", name="Dry run").click()
    expect(site.get_by_label("Seed")).to_be_focused()  # opened again: what is folded away cannot be pointed at
    assert sent == [] and not TunixRun.objects.exists()
    site.get_by_label("Seed").fill("7")
    site.get_by_role("button", name="Dry run").click()
    expect(site.get_by_text("Dry run passed in")).to_be_visible()


def slow_upload(site, bytes_per_second):
    devtools = site.context.new_cdp_session(site)
    limits = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_per_second}
    devtools.send("Network.emulateNetworkConditions", limits)


def file_of_rows(content):
    return {"name": "rows.jsonl", "mimeType": "text/plain", "buffer": content}


def test_a_dataset_is_uploaded_in_the_launch_form_with_progress(site, data_dir, tmp_path):
    large = tmp_path / "rows.jsonl"
    large.write_bytes(arithmetic_rows(300_000))
    site.goto(site.base)
    site.get_by_label("Epochs").fill("5")
    site.get_by_text("Upload another…").click()
    site.get_by_label("Name").fill("mine")
    site.get_by_label("File of rows").set_input_files(file_of_rows(b'{"prompt": "a"}\n'))
    site.get_by_role("button", name="Upload").click()
    expect(site.get_by_role("heading", name="mine-v1 was refused")).to_be_visible()
    expect(site.get_by_label("Name")).to_have_value("mine")
    slow_upload(site, 4_000_000)
    site.get_by_label("File of rows").set_input_files(large)
    site.get_by_role("button", name="Upload").click()
    expect(site.get_by_text(re.compile(r"^\d+ % of 1\d\.\d MB$"))).to_be_visible()
    site.get_by_role("button", name="Stop").click()
    expect(site.get_by_role("button", name="Stop")).not_to_be_visible()
    slow_upload(site, -1)
    assert datasets.list_all() == []
    site.get_by_role("button", name="Upload").click()
    expect(site.get_by_text("mine-v1 is stored.")).to_be_visible(timeout=60_000)
    expect(site.get_by_label("Dataset", exact=True)).to_have_value("mine-v1")
    expect(site.get_by_label("Epochs")).to_have_value("5")
    site.get_by_role("button", name="Dry run").click()
    expect(site.get_by_text("Dry run passed in")).to_be_visible()
    assert (TunixRun.objects.get().dataset_key, TunixRun.objects.get().config["num_epochs"]) == ("mine-v1", 5)


def test_repeat_fills_the_form(site, dataset):
    run = create_run(
        dataset_key="arithmetic-v1", model_id="google/gemma-2b-it", config={"batch_size": 16, "learning_rate": 3e-5}
    )
    site.goto(f"{site.base}/runs/{run.run_id}/")
    site.get_by_role("link", name="Repeat…").first.click()
    expect(site.get_by_label("Model")).to_have_value("google/gemma-2b-it")
    expect(site.get_by_label("Batch size")).to_have_value("16")
    expect(site.get_by_label("Learning rate")).to_have_value("3e-5")


def test_history_filters_live_in_the_address(site):
    wanted = create_run(status="failed", dataset_key="gsm8k-v1")
    create_run(status="completed", dataset_key="gsm8k-v1")
    create_run(status="failed", dataset_key="other-v1")
    site.goto(f"{site.base}/runs/")
    body = site.locator("#results tbody tr:not(.run-detail)")
    expect(body).to_have_count(3)
    site.get_by_role("link", name="Failed").click()
    expect(body).to_have_count(2)
    site.get_by_label("Dataset").select_option("gsm8k-v1")
    expect(body).to_have_count(1)
    expect(body).to_contain_text(wanted.short_id)
    assert "status=failed" in site.url and "dataset_key=gsm8k-v1" in site.url and "q=" not in site.url
    site.reload()
    expect(body).to_have_count(1)
    site.go_back()
    expect(body).to_have_count(2)


def test_history_pages_and_sorts(site):
    now = timezone.now()
    for number in range(25):
        create_run(started_at=now - timedelta(minutes=number), duration_seconds=float(number))
    site.goto(f"{site.base}/runs/")
    body = site.locator("#results tbody tr:not(.run-detail)")
    expect(body).to_have_count(20)
    site.get_by_role("link", name="Older").click()
    expect(body).to_have_count(5)
    assert "page=2" in site.url
    site.get_by_role("link", name="Duration").click()
    expect(body.first).to_contain_text("24 s")
    expect(site.get_by_role("columnheader", name="Duration")).to_have_attribute("aria-sort", "descending")


def test_notes_and_tags_are_edited_in_place(site):
    run = create_run()
    site.goto(f"{site.base}/runs/{run.run_id}/")
    site.locator("#notes summary").click()
    site.get_by_role("textbox", name="Notes").fill("Baseline <b>one</b>")
    site.get_by_role("textbox", name="Tags").fill("baseline, sweep-lr, baseline")
    site.get_by_role("button", name="Save").click()
    expect(site.locator("#notes .prose")).to_have_text("Baseline <b>one</b>")
    expect(site.locator("#notes .tag")).to_have_text(["baseline", "sweep-lr"])


def test_delete_says_what_happens_and_can_be_undone(site):
    run = create_run()
    site.goto(f"{site.base}/runs/{run.run_id}/")
    site.get_by_role("link", name="Delete…").click()
    expect(site.get_by_text("stays in the trash for 7 days")).to_be_visible()
    site.get_by_role("button", name=f"Delete run {run.short_id}").click()
    expect(site.get_by_text("moved to the trash")).to_be_visible()
    expect(site.get_by_text("No runs found")).to_be_visible()
    site.get_by_role("button", name="Undo").click()
    expect(site.get_by_text("is back")).to_be_visible()


def test_dataset_is_uploaded_and_refused_by_line(site, data_dir):
    site.goto(f"{site.base}/datasets/")
    site.get_by_label("Name").fill("mine")
    bad = b'{"prompt": "a", "response": "b"}\n{"prompt": "a"}\n'
    site.get_by_label("File of rows").set_input_files({"name": "x.jsonl", "mimeType": "text/plain", "buffer": bad})
    site.get_by_role("button", name="Upload").click()
    expect(site.get_by_text("1 of 2 rows cannot be used. Nothing was stored.")).to_be_visible()
    expect(site.get_by_text("line 2: response is missing")).to_be_visible()
    good = '{"prompt": "Wie heißt du?", "response": "Tunix"}\n'.encode()
    site.get_by_label("File of rows").set_input_files({"name": "x.jsonl", "mimeType": "text/plain", "buffer": good})
    site.get_by_role("button", name="Upload").click()
    expect(site.get_by_role("heading", name="mine-v1")).to_be_visible()
    expect(site.get_by_text("Wie heißt du?")).to_be_visible()


def test_search_keeps_what_is_typed_while_results_come(site):
    create_run(model_id="google/gemma-2b-it")
    create_run(model_id="Qwen/Qwen3-0.6B")
    site.goto(f"{site.base}/runs/")
    site.keyboard.press("/")
    site.keyboard.type("gemma")
    body = site.locator("#results tbody tr:not(.run-detail)")
    expect(body).to_have_count(1)
    expect(site.get_by_label("Search runs")).to_have_value("gemma")
    expect(site.get_by_label("Search runs")).to_be_focused()


def test_browsable_api_shows_runs_and_filters(site):
    run = create_run()
    site.goto(f"{site.base}/api/tunix/runs")
    expect(site.locator(".response-info")).to_contain_text(str(run.run_id))
    site.get_by_role("button", name="Filters").click()
    site.locator("#filtersModal [name=status]").fill("failed")
    site.locator("#filtersModal [type=submit]").click()
    expect(site.locator(".response-info")).not_to_contain_text(str(run.run_id))


def test_browsable_api_launches_by_its_form(site, dataset):
    site.goto(f"{site.base}/api/tunix/run")
    site.locator("textarea[name=_content]").first.fill(
        '{"dataset_key": "arithmetic-v1", "model_id": "tunix-rt/tiny-qwen3"}'
    )
    site.get_by_role("button", name="POST").first.click()
    expect(site.locator(".response-info")).to_contain_text("Dry-run validation successful")
    assert TunixRun.objects.count() == 1


def test_api_docs_list_the_calls_offline(site):
    outside = []
    site.on(
        "request", lambda request: None if request.url.startswith((site.base, "data:")) else outside.append(request.url)
    )
    site.goto(f"{site.base}/api/docs")
    expect(site.get_by_text("/api/tunix/runs", exact=True).first).to_be_visible()
    assert outside == []


def trained_run():
    """One with all that a training leaves: metrics, checkpoints, provenance."""
    provenance = {"arguments": ["/" + "long/" * 30], "versions": {"jax": "0.10.2"}, "devices": ["cpu:0 cpu"]}
    run = create_run(mode="local", step=100, total_steps=100, provenance=provenance, output_dir="./output/a")
    for name in ("train/loss", "train/grad_norm", "eval/loss", "perf/step_seconds"):
        metrics.append(run.run_id, {name: [(n, n % 7 / n, 1.7e9) for n in range(1, 101)]})
    create_checkpoint(run, 100)
    return run


@pytest.fixture
def every_page(dataset):
    ok = services.launch(
        services.LaunchRequest(
            "arithmetic-v1",
            "tunix-rt/tiny-qwen3",
            {"learning_rate": 2e-5, "num_epochs": 3, "batch_size": 8, "max_seq_length": 2048, "timeout_seconds": 60},
        )
    )
    services.annotate(ok, tags=["baseline"], notes="A note")
    failed = create_run(
        status="failed",
        message="Dry-run failed: dataset not found",
        stderr="Dataset not found: x-v1",
        dataset_key="x-v1",
    )
    create_run(status="running", mode="local", model_id="/models/a-very-long-directory-name/checkpoints/step-48000")
    create_run(status="lost", mode="local")
    trained = trained_run()
    died = create_run(
        status="failed", mode="local", cause="nan_loss", evidence="step 7: loss nan", message="exit code 1", step=7
    )
    create_run(mode="local", deleted_at=timezone.now())
    SavedView.objects.create(name="What failed", query="status=failed")
    runs = ["", "?status=failed", "?status=timeout", "?status=nonsense", f"{failed.run_id}/delete/"]
    runs += [f"{run.run_id}/" for run in (ok, failed, trained, died)]
    others = ["/", f"/?reproduce={trained.run_id}", "/trash/", "/events/", "/datasets/", "/datasets/arithmetic-v1/"]
    waiting = datasets.receive("other", "v1", [b'{"question": "2 + 2 =", "answer": "4"}\n'])
    others += [
        f"/datasets/uploads/{waiting.id}/",
        "/nothing-here/",
        "/login/",
        f"/compare/?run={trained.run_id}&run={died.run_id}",
        "/compare/",
    ]
    return [f"/runs/{page}" for page in runs] + others


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(site, every_page, scheme):
    site.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    for path in every_page:
        site.goto(site.base + path)
        if path == "/":
            site.get_by_text("Run History").click()
            site.get_by_role("button", name="View run").first.click()
            expect(
                site.get_by_role("log", name="stdout of run").or_(site.get_by_text("(nothing was written)")).first
            ).to_be_visible()
        found = Axe().run(site)
        assert found.violations_count == 0, f"{path} in {scheme}: {found.generate_report()}"


@pytest.mark.parametrize("width", [390, 768, 1440])
def test_no_page_is_wider_than_the_window(site, every_page, width):
    site.set_viewport_size({"width": width, "height": 900})
    for path in every_page:
        site.goto(site.base + path)
        assert site.evaluate("document.documentElement.scrollWidth") <= width, f"{path} at {width}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_kept_as_a_picture(site, every_page, scheme):
    """For those who change the look, and for whoever reviews it: screenshots/, one file a page, scheme and width."""
    directory = Path(settings.BASE_DIR) / "screenshots" / connection.vendor
    directory.mkdir(parents=True, exist_ok=True)
    site.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    names = {f"{number:02} {re.sub(ANY_ID, '', path).strip('/').replace('/', ' ') or 'overview'}": path
             for number, path in enumerate(every_page)}  # fmt: skip
    assert len(names) == len(every_page)
    for name, path in names.items():
        site.goto(site.base + path)
        for width in (390, 1440):
            site.set_viewport_size({"width": width, "height": 900})
            picture = directory / f"{re.sub('[^a-z0-9 ]', '', name)} {scheme} {width}.png"
            site.screenshot(path=picture, full_page=True)
            assert picture.stat().st_size > 5_000


def test_everything_works_without_script(browser, live_server, dataset):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(live_server.url)
    page.get_by_role("button", name="Dry run").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Completed")
    page.get_by_role("link", name="Runs").first.click()
    page.get_by_role("link", name="Completed").click()
    page.get_by_label("Mode", exact=True).select_option("dry-run")
    page.get_by_role("button", name="Filter").click()
    assert "status=completed" in page.url and "mode=dry-run" in page.url
    page.get_by_role("button", name="View run").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("arithmetic-v1")
    page.locator("#notes summary").click()
    page.get_by_role("textbox", name="Tags").fill("plain")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#notes .tag")).to_have_text("plain")
    context.close()


def test_a_local_run_is_trained_watched_and_cancelled(site, engine):
    engine.dispatcher()
    site.goto(site.base)
    site.get_by_label("Model").fill("lines=3,sleep=120")
    site.get_by_role("button", name="Train").click()
    expect(site.locator("#run-head .status")).to_have_text("Running", timeout=30_000)
    expect(site.get_by_role("log", name="stdout of run")).to_contain_text("line 2", timeout=30_000)
    site.get_by_text("Cancel run…").click()
    expect(site.get_by_text("to save its checkpoint")).to_be_visible()
    site.wait_for_timeout(3_500)  # a poll must not close what the reader has opened
    site.get_by_role("button", name="Cancel run").click()
    expect(site.locator("#run-head .status")).to_have_text("Cancelled", timeout=30_000)
    site.get_by_text("Retry…").click()
    site.get_by_role("button", name="Retry run").click()
    expect(site.locator("#run-head")).to_contain_text("a retry of")


def test_a_training_is_watched_to_its_end_without_a_reload(site, engine):
    """The chart and the progress come by themselves; what the reader has folded stays so; at the end it is another page."""
    engine.dispatcher()
    site.goto(site.base)
    site.get_by_label("Model").fill("metrics=40,checkpoint=40,sleep=25")
    site.get_by_role("button", name="Train").click()
    expect(site.get_by_role("img", name="train/loss, from")).to_be_visible(timeout=30_000)
    expect(site.locator("#run-head")).to_contain_text("Step 40 of 80", timeout=30_000)
    expect(site.locator("#run-checkpoints")).to_contain_text("40", timeout=30_000)
    site.locator("#charts-train summary").click()
    site.wait_for_timeout(11_000)  # a poll of the charts
    expect(site.get_by_role("img", name="train/loss, from")).not_to_be_visible()
    expect(site.locator("#run-head .status")).to_have_text("Completed", timeout=30_000)
    expect(site).to_have_title("Completed · metrics=40,checkpoint=40,sleep=25 on arithmetic-v1 · tunix-rt")
    site.get_by_role("link", name="Reproduce…").click()
    expect(site.get_by_role("heading", name="Reproduce a run")).to_be_visible()


def test_a_deleted_run_comes_back_from_the_trash(site, dataset):
    run = create_run()
    site.goto(f"{site.base}/runs/{run.run_id}/delete/")
    site.get_by_role("button", name="Delete run").click()
    site.get_by_label("More").click()
    site.get_by_role("link", name="Trash").click()
    site.get_by_role("button", name=f"Restore run {run.short_id}").click()
    expect(site.get_by_text(f"Run {run.short_id} is back.")).to_be_visible()


def test_runs_are_chosen_by_keyboard_and_compared(site):
    """j, k, x and c; the bar says how many; nothing of it while one types."""
    runs = [create_run(mode="local") for _ in range(3)]
    site.goto(f"{site.base}/runs/")
    expect(site.get_by_text("Delete…")).not_to_be_visible()
    for key in ("j", "x", "j", "j", "k", "x"):
        site.keyboard.press(key)
    expect(site.get_by_text("2 selected")).to_be_visible()
    site.get_by_label("Search runs").fill("xjc")
    expect(site.get_by_label("Search runs")).to_have_value("xjc")
    site.get_by_label("Search runs").fill("")
    expect(site.locator("#results tbody > tr:not(.run-detail)")).to_have_count(3)
    site.get_by_label("Select all runs on this page").check()
    expect(site.get_by_text("3 selected")).to_be_visible()
    site.get_by_label(f"Select run {runs[0].short_id}").uncheck()
    site.locator("body").click(position={"x": 5, "y": 300})
    site.keyboard.press("c")
    expect(site.get_by_role("heading", name="Compare 2 runs")).to_be_visible()
    site.go_back()
    site.get_by_label("Select all runs on this page").check()
    site.get_by_role("button", name="Delete…").click()
    site.get_by_role("button", name="Delete 3 runs").click()
    expect(site.get_by_text("3 runs moved to the trash")).to_be_visible()
    assert not TunixRun.objects.alive().exists()


def test_a_row_that_runs_changes_under_the_eyes_and_stays_selected(site):
    run, other = create_run(mode="local", status="running"), create_run(mode="local")
    site.goto(f"{site.base}/runs/")
    site.get_by_label(f"Select run {run.short_id}").check()
    other_row = site.locator("tr", has=site.get_by_label(f"Select run {other.short_id}"))
    row = site.locator("tr", has=site.get_by_label(f"Select run {run.short_id}"))
    before = other_row.bounding_box()
    TunixRun.objects.filter(pk=run.pk).update(status="failed", completed_at=timezone.now(), duration_seconds=5)
    expect(row.locator(".status")).to_have_text("Failed", timeout=15_000)
    expect(site.get_by_label(f"Select run {run.short_id}")).to_be_checked()
    assert other_row.bounding_box() == before, "nothing else moves"


def test_a_drag_shows_some_steps_in_every_plot_and_a_double_click_all_of_them(site):
    runs = [create_run(mode="local") for _ in range(2)]
    for run in runs:
        metrics.append(
            run.run_id, {name: [(n, n / 10, 1.7e9) for n in range(1, 1002)] for name in ("a/loss", "b/loss")}
        )
    compare = f"/compare/?run={runs[0].run_id}&run={runs[1].run_id}"
    for path in (f"/runs/{runs[0].run_id}/", compare):
        site.goto(site.base + path)
        first, second = (site.locator(f'[data-plot="{name}"]') for name in ("a/loss", "b/loss"))
        box = first.get_by_role("img").bounding_box()
        site.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 20)
        site.mouse.down()
        site.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 20, steps=4)
        site.mouse.up()
        for plot in (first, second):
            expect(plot.locator("ol.x li").first).to_have_text(re.compile(r"^20\d$"))
            expect(plot.locator("ol.x li").last).to_have_text(re.compile(r"^40\d$"))
        first.get_by_role("img").hover(position={"x": box["width"] / 2, "y": 20})
        expect(second.locator("figcaption b")).to_have_text(re.compile(r"^step 30\d: \s*30\.\d"))
        site.get_by_role("link", name="Log scale").click()
        expect(site.get_by_role("link", name="Linear scale")).to_be_visible()
        expect(first.locator("ol.x li").last).to_have_text(re.compile(r"^40\d$"))
        first.get_by_role("img").dblclick()
        expect(first.locator("ol.x li").last).to_have_text("1,001")
        site.get_by_label("First step").fill("900")
        site.get_by_label("First step").press("Enter")
        expect(second.locator("ol.x li").first).to_have_text("900")
        site.get_by_label("First step").fill("5000")
        site.get_by_role("button", name="Show").click()
        expect(site.get_by_text("Nothing here can be drawn")).to_be_visible()


def test_the_keys_and_the_search_are_explained(site):
    create_run()
    site.goto(f"{site.base}/runs/")
    site.keyboard.press("?")
    keys = site.get_by_role("dialog", name="Keys and search")
    expect(keys).to_be_visible()
    assert Axe().run(site).violations_count == 0
    site.keyboard.press("Escape")
    expect(keys).not_to_be_visible()
    site.get_by_role("button", name="all keys").click()
    keys.get_by_role("button", name="Close").click()
    expect(keys).not_to_be_visible()


def test_the_whole_way_of_a_run(site, engine):
    """Upload, dry run, train, watch its log and chart, cancel, resume, compare, delete: as one sitting."""
    engine.dispatcher()
    site.goto(site.base)
    site.get_by_text("Upload another…").click()
    site.get_by_label("Name").fill("journey")
    site.get_by_label("File of rows").set_input_files(file_of_rows(arithmetic_rows()))
    site.get_by_role("button", name="Upload").click()
    expect(site.get_by_label("Dataset", exact=True)).to_have_value("journey-v1")
    site.get_by_role("button", name="Dry run").click()
    expect(site.get_by_text("Dry run passed in")).to_be_visible()
    site.get_by_label("Model").fill("metrics=40,checkpoint=40,lines=3,sleep=120")
    site.get_by_role("button", name="Train this").click()
    expect(site.locator("#run-head .status")).to_have_text("Running", timeout=30_000)
    first = TunixRun.objects.get(mode="local")
    expect(site.get_by_role("log", name="stdout of run")).to_contain_text("line 2", timeout=30_000)
    expect(site.get_by_role("img", name="train/loss, from")).to_be_visible(timeout=30_000)
    expect(site.locator("#run-checkpoints")).to_contain_text("40", timeout=30_000)
    site.get_by_text("Cancel run…").click()
    site.get_by_role("button", name="Cancel run").click()
    expect(site.locator("#run-head .status")).to_have_text("Cancelled", timeout=30_000)
    site.get_by_text("Retry…").click()
    site.get_by_role("button", name="Resume").click()
    expect(site.locator("#run-head")).to_contain_text("a retry of")
    expect(site.locator("#run-head .status")).to_have_text("Running", timeout=30_000)
    second = TunixRun.objects.get(retry_of=first)
    assert second.resume
    expect(site.get_by_role("img", name="train/loss, from")).to_be_visible(timeout=30_000)
    site.get_by_text("Cancel run…").click()
    site.get_by_role("button", name="Cancel run").click()
    expect(site.locator("#run-head .status")).to_have_text("Cancelled", timeout=30_000)
    site.goto(f"{site.base}/runs/?q=status:cancelled")
    for run in (first, second):
        site.get_by_label(f"Select run {run.short_id}").check()
    site.get_by_role("button", name="Compare").click()
    expect(site.get_by_role("heading", name="Compare 2 runs")).to_be_visible()
    expect(site.get_by_role("img", name="train/loss of 2 runs")).to_be_visible()
    site.go_back()
    site.get_by_label("Select all runs on this page").check()
    site.get_by_role("button", name="Delete…").click()
    site.get_by_role("button", name="Delete 2 runs").click()
    expect(site.get_by_text("2 runs moved to the trash")).to_be_visible()
    assert not TunixRun.objects.alive().filter(mode="local").exists()


def test_values_under_the_pointer_are_those_of_one_step_in_every_plot(site):
    run = create_run(mode="local")
    metrics.append(run.run_id, {"train/loss": [(n, 100 / n, 1.7e9) for n in range(1, 102)]})
    metrics.append(run.run_id, {"eval/loss": [(n, n / 10, 1.7e9) for n in range(1, 102, 10)]})
    site.goto(f"{site.base}/runs/{run.run_id}/")
    train, evaluated = (site.locator(f'[data-plot="{name}"]') for name in ("train/loss", "eval/loss"))
    expect(train.locator("figcaption b")).to_have_text("0.9901")
    train.locator("svg").hover(position={"x": train.locator("svg").bounding_box()["width"] / 2, "y": 20})
    expect(train.locator("figcaption b")).to_have_text("step 51: 1.961")
    expect(evaluated.locator("figcaption b")).to_have_text("step 51: 5.1")
    site.mouse.move(2, 2)
    expect(train.locator("figcaption b")).to_have_text("0.9901")
    site.get_by_role("link", name="Log scale").click()
    expect(site.get_by_role("link", name="Linear scale")).to_be_visible()
    expect(train.locator("ol.y li").nth(1)).to_have_text("9.95")
