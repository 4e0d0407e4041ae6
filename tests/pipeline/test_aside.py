"""A stale stage moves whole, under a name of its own, however often it is cut off."""

import json

import pytest

from configs import tiny
from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.pipeline import aside, checks, plan
from glore_jax.stages.context import Context

MANIFEST = {"stage": "rollout", "fingerprint": "old", "config": {"rollout": {"k": 8}}, "done": True}
FILES = {f"records/part-{n}": b"%d" % n for n in range(3)} | {"work/records.json": b"[]"}
EVENTS = "events.out.tfevents.1700000000.host"


def fill(workdir):
    """A stage that is done, with a neighbour whose name begins alike."""
    for name, data in FILES.items():
        storage.write_bytes(f"{workdir}/rollout/{name}", data)
    for stage in ("rollout", "rollout2"):
        storage.write_bytes(f"{workdir}/tb/tiny-smoke/{EVENTS}.{stage}", stage.encode())
    storage.write_bytes(f"{workdir}/rollout2/other", b"other")
    storage.write_json(f"{workdir}/rollout/manifest.json", MANIFEST)


def read(workdir, fingerprint, **config):
    """The stage as a start finds it that wants this one."""
    manifest = plan._manifest(storage.path(workdir) / "rollout")
    stage = plan.Stage("rollout", fingerprint, {"rollout": config}, {}, {}, manifest)
    checks.check_inputs({"rollout": stage}, ["rollout"], storage.path(workdir))
    return stage


def assert_moved(workdir, name="rollout-old"):
    target = f"{workdir}/stale/{name}"
    assert storage.read_json(f"{target}/manifest.json") == MANIFEST
    assert {f: storage.read_bytes(f"{target}/{f}") for f in FILES} == FILES
    assert storage.read_bytes(f"{target}/tb/{EVENTS}.rollout") == b"rollout"
    assert storage.read_json(f"{target}.json")["reason"] == "config.rollout.k 8 -> 4"
    assert storage.names(f"{workdir}/tb/tiny-smoke") == [f"{EVENTS}.rollout2"]
    assert storage.read_bytes(f"{workdir}/rollout2/other") == b"other"


@pytest.fixture(params=["disk", "bucket"])
def workdir(request, tmp_path):
    if request.param == "disk":
        return str(tmp_path / "run")
    return request.getfixturevalue("bucket").url + "/run"


def test_every_version_gets_a_folder_of_its_own(workdir):
    ctx = Context(tiny.get_config("smoke"), workdir)
    for name in ("rollout-old", "rollout-old-2", "rollout-old-3"):
        fill(workdir)
        aside.set_aside(ctx, read(workdir, "new", k=4))
        assert_moved(workdir, name)
        assert storage.names(f"{workdir}/rollout") in ([], ["manifest.json"])
    folders = [n for n in storage.names(f"{workdir}/stale") if not n.endswith(".json")]
    assert folders == ["rollout-old", "rollout-old-2", "rollout-old-3"]


def test_a_kill_at_any_request_leaves_what_the_same_command_goes_on_with(bucket):
    """From its n-th request on the store gets nothing more, as after a kill."""
    cut_off = 0
    for n in range(100):
        workdir = f"{bucket.url}/run-{n}"
        fill(workdir)
        ctx = Context(tiny.get_config("smoke"), workdir)
        stage = read(workdir, "new", k=4)
        bucket.door.jams.extend([""] * n + ["403"] * 100)
        try:
            aside.set_aside(ctx, stage)
            whole = True
        except UserError:
            whole = False
        bucket.door.jams.clear()
        if whole:
            break
        cut_off += 1
        # Whoever changes the config back has all files, or does not take what is left for all.
        if read(workdir, "old", k=8).done:
            assert set(FILES) <= {f.removeprefix(f"run-{n}/rollout/") for f in bucket.objects()}
        stage = read(workdir, "new", k=4)
        assert stage.stale == "config.rollout.k 8 -> 4"
        aside.set_aside(ctx, stage)
        assert_moved(workdir)
        left = [f for f in bucket.objects() if f.startswith(f"run-{n}/rollout/")]
        assert left == [f"run-{n}/rollout/manifest.json"]
        stale = storage.names(f"{workdir}/stale")
        assert stale == ["rollout-old", "rollout-old.json"]
    assert whole and cut_off > 2 * len(FILES)


def test_the_mark_is_no_manifest_of_a_stage(bucket):
    workdir = f"{bucket.url}/run"
    fill(workdir)
    aside.set_aside(Context(tiny.get_config("smoke"), workdir), read(workdir, "new", k=4))
    left = json.loads(storage.read_text(f"{workdir}/rollout/manifest.json"))
    assert "done" not in left and "fingerprint" not in left
    assert not checks._holds_results(storage.path(workdir) / "rollout")
