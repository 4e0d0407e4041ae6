"""`launch/tpu_vm.sh watch` while the stand-in cloud takes slices, workers and connections away."""

import os
import signal

import pytest
from fake_cloud import Cloud
from test_launch import CREATE, RUN, Laptop, checkout, pytestmark, started, until  # noqa: F401


@pytest.fixture
def laptop(checkout, tmp_path):  # noqa: F811
    """A slice of two workers on which the run has begun."""
    laptop = Laptop(checkout, Cloud(tmp_path, workers=2))
    yield laptop
    laptop.close()


def begin(laptop, *flags):
    laptop.ready((*CREATE, *flags), ("setup", "pod"), RUN)
    until(lambda: all(started(laptop.cloud, i) for i in (0, 1)))


def asked(cloud, since=0):
    """The calls that change something, in short."""
    of_gcloud = ("create", "delete", "scp")
    of_workers = ("worker.sh setup", "worker.sh start", "worker.sh stop")
    short = []
    for call in cloud.calls[since:]:
        words = " ".join(call) + " "
        for verb in of_gcloud + of_workers:
            if f"{verb} " in words:
                short.append(verb.removeprefix("worker.sh "))
                break
    return short


def ended(process):
    out, err = process.communicate(timeout=180)
    return process.returncode, err


@pytest.mark.parametrize("kind", [("--spot",), ("--spot", "--queued")])
def test_after_a_preemption_the_same_run_goes_on_on_a_new_slice(laptop, kind):
    begin(laptop, *kind)
    create, since = laptop.cloud.calls[0], len(laptop.cloud.calls)
    watch = laptop.start("watch", "pod")
    until(lambda: len(laptop.cloud.calls) > since + 3)
    laptop.cloud.fail("create", "There is no more capacity in the zone", times=2)
    laptop.cloud.preempt()
    until(lambda: all(len(started(laptop.cloud, i)) == 2 for i in (0, 1)))
    laptop.cloud.finish(0)
    code, err = ended(watch)
    assert code == 0 and "bucket-a-run is done" in err
    assert asked(laptop.cloud, since) == [
        *("delete", "create", "delete", "create", "delete", "create"),
        *("scp", "setup", "start"),
    ]
    assert [c for c in laptop.cloud.calls if "create" in c] == [create] * 4
    for i in (0, 1):
        first, second = started(laptop.cloud, i)
        # The same command, the same work directory.
        assert first == second and list(RUN[2:]) == first[1:]


def test_a_bad_connection_deletes_nothing(laptop):
    begin(laptop)
    since = len(laptop.cloud.calls)
    laptop.cloud.fail("describe", "Could not fetch resource: network is unreachable", times=3)
    laptop.cloud.cut_off(1)
    watch = laptop.start("watch", "pod")
    until(lambda: len(laptop.cloud.calls) > since + 8)
    laptop.cloud.cut_off(1, False)
    laptop.cloud.finish(0)
    code, err = ended(watch)
    assert code == 0 and "UNREACHABLE" in err and "unreachable" in err
    assert asked(laptop.cloud, since) == []


def test_a_worker_that_lost_the_run_brings_everyone_back_to_the_start(laptop):
    begin(laptop)
    since = len(laptop.cloud.calls)
    laptop.cloud.power_off("1")  # as after a reboot: no process, no exit code
    watch = laptop.start("watch", "pod")
    until(lambda: all(len(started(laptop.cloud, i)) == 2 for i in (0, 1)))
    laptop.cloud.finish(0)
    assert ended(watch)[0] == 0
    assert asked(laptop.cloud, since) == ["stop", "scp", "setup", "start"]


@pytest.mark.parametrize("step", [" scp ", "worker.sh setup", "worker.sh start"])
def test_a_restart_that_fails_half_way_is_tried_again(laptop, step):
    begin(laptop)
    laptop.cloud.fail(step, "ssh: connect to host port 22: Connection timed out")
    laptop.cloud.power_off("1")
    watch = laptop.start("watch", "pod")
    until(lambda: all(len(started(laptop.cloud, i)) == 2 for i in (0, 1)))
    laptop.cloud.finish(0)
    code, err = ended(watch)
    assert code == 0 and "is done" in err and err.count("again on pod") == 2


def test_a_mistake_is_reported_not_repeated(laptop):
    begin(laptop)
    since = len(laptop.cloud.calls)
    laptop.cloud.finish(2, worker=0)
    laptop.cloud.finish(134, worker=1)  # what happens to a process whose peer has gone
    code, _, err = laptop("watch", "pod")
    assert code == 2 and "ended with exit code 2" in err
    assert asked(laptop.cloud, since) == []


def test_a_run_that_does_not_stay_up_is_given_up(laptop):
    begin(laptop)
    laptop.cloud.finish(134)
    code, _, err = laptop("watch", "pod")
    assert code == 1 and "did not stay up" in err
    assert len(started(laptop.cloud, 0)) == 4


def test_a_bucket_that_does_not_answer_is_waited_for_longer_each_time(laptop):
    begin(laptop)
    laptop.cloud.finish(4, worker=0)
    laptop.cloud.finish(3, worker=1)  # as it hears from worker 0
    watch = laptop.start("watch", "pod")
    # More often than a run that just does not stay up; then it is answered.
    for starts in range(2, 6):
        until(lambda: len(started(laptop.cloud, 0)) == starts)  # noqa: B023, called at once
    looks = []
    for call in laptop.cloud.calls:
        words = " ".join(call) + " "
        if "worker.sh start " in words:
            looks.append(0)
        elif looks and "describe" in words:
            looks[-1] += 1
    first, second, third, fourth = looks[:4]
    assert fourth - third > third - second > second - first > 0, looks
    laptop.ready(("stop", "pod"))
    code, err = ended(watch)
    assert code == 0 and "unanswered" in err


def test_quota_may_come_back_but_a_refusal_ends_the_watch(laptop):
    begin(laptop, "--spot")
    laptop.cloud.preempt()
    # The slice that goes away still counts.
    laptop.cloud.fail("create", "Quota limit has been exceeded")
    laptop.cloud.fail("create", "PERMISSION_DENIED: billing is disabled")
    since = len(laptop.cloud.calls)
    code, _, err = laptop("watch", "pod")
    assert code == 1 and "quota" in err and "was not created" in err.splitlines()[-1]
    assert asked(laptop.cloud, since) == ["delete", "create"] * 2


NO_NETWORK = "HTTPSConnectionPool: Max retries exceeded: Network is unreachable"


@pytest.mark.parametrize("verb", ["delete", "create"])
def test_a_new_slice_is_asked_for_until_the_network_is_back(laptop, verb):
    begin(laptop, "--spot")
    since = len(laptop.cloud.calls)
    laptop.cloud.fail(f"tpu-vm {verb}", NO_NETWORK)
    laptop.cloud.preempt()
    watch = laptop.start("watch", "pod")
    until(lambda: all(len(started(laptop.cloud, i)) == 2 for i in (0, 1)))
    laptop.cloud.finish(0)
    assert ended(watch)[0] == 0
    tries = {"delete": ["delete"], "create": ["delete", "create"]}[verb]
    asked_for = [*tries, "delete", "create", "scp", "setup", "start"]
    assert asked(laptop.cloud, since) == asked_for


@pytest.mark.parametrize("verb, line", [("stop", "was stopped"), ("delete", "was deleted")])
def test_a_person_has_the_last_word(laptop, verb, line):
    begin(laptop)
    watch = laptop.start("watch", "pod")
    laptop.ready((verb, "pod"))
    code, err = ended(watch)
    assert code == 0 and line in err and "create" not in asked(laptop.cloud, 1)


def test_a_slice_that_is_being_deleted_is_not_brought_back(laptop):
    begin(laptop)
    since = len(laptop.cloud.calls)
    laptop.cloud.linger()
    watch = laptop.start("watch", "pod")
    assert "running" in watch.stderr.readline()
    delete = laptop.start("delete", "pod")
    code, err = ended(watch)
    assert code == 0 and "was deleted" in err
    laptop.cloud.linger(False)
    assert ended(delete)[0] == 0
    assert asked(laptop.cloud, since) == ["delete"]
    laptop.ready(CREATE, ("setup", "pod"), RUN)  # and may be had again
    watch = laptop.start("watch", "pod")
    assert "running" in watch.stderr.readline()
    laptop.cloud.finish(0)
    assert ended(watch)[0] == 0


def test_a_slice_deleted_while_it_is_asked_for_does_not_stay(laptop):
    begin(laptop, "--spot")
    laptop.cloud.preempt()
    laptop.cloud.linger()
    watch = laptop.start("watch", "pod")  # its own delete lingers
    until(lambda: "delete" in asked(laptop.cloud))
    delete = laptop.start("delete", "pod")
    until(lambda: asked(laptop.cloud).count("delete") == 2)
    laptop.cloud.fail("tpu-vm delete", NO_NETWORK)  # when `watch` takes its own back
    laptop.cloud.linger(False)
    assert ended(delete)[0] == 0 and ended(watch)[0] == 0
    assert not (laptop.cloud.root / "node").exists()


def test_ctrl_c_leaves_the_run_alone(laptop):
    begin(laptop)
    watch = laptop.start("watch", "pod")
    assert "running" in watch.stderr.readline()
    os.killpg(watch.pid, signal.SIGINT)
    code, err = ended(watch)
    assert code == 130 and "the run itself goes on" in err
    assert "worker 1: running bucket-a-run" in laptop("status", "pod")[1]
