"""Every test runs on the CPU, with eight fake devices for meshes, and with shapes checked.

Set before JAX is imported, and before the package is.
"""

import atexit
import os
import shutil
import tempfile

os.environ["JAX_PLATFORMS"] = "cpu"
# Fewer threads than fake devices deadlock jax 0.10 on a small machine.
os.environ.setdefault("NPROC", "16")
os.environ["XLA_FLAGS"] = " ".join(
    (
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
        # Most programs here run once: half the time of the suite would go into optimising them.
        "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
    )
)

# Commands that tests start keep their compiled programs for each other, not among the user's. The
# processes that test side by side inherit the folder of the one that started them.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="glore-cache-")
    atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)

import jaxtyping  # noqa: E402

# Rooms whose functions are held to the shapes in their signatures, whenever a test calls them.
SHAPES_CHECKED = (
    # one room a line
    "glore_jax.models",
    "glore_jax.sampling",
    "glore_jax.training",
)
jaxtyping.install_import_hook(SHAPES_CHECKED, "beartype.beartype")  # before they are imported

import itertools  # noqa: E402

import bucket as buckets  # noqa: E402
import fake_hub  # noqa: E402
import filelock  # noqa: E402
import finished_run  # noqa: E402
import hypothesis  # noqa: E402
import pytest  # noqa: E402

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The work directory of a miniature run of all stages, which tests only read.

    `compiled` beside it holds its programs. The processes that test side by side share one: the
    first that needs it makes it, the others wait.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # each has a folder of its own there
    folder = folder / "finished"
    with filelock.FileLock(f"{folder}.lock"):
        if not folder.exists():
            folder.mkdir()
            with open(folder / "log.txt", "w") as log:
                run = finished_run.start_run(folder / "work", folder / "compiled", log)
                code = run.wait(timeout=600)
            (folder / "code.txt").write_text(str(code))
    code = (folder / "code.txt").read_text()
    assert code == "0", (folder / "log.txt").read_text()
    return folder / "work"


@pytest.fixture(scope="session")
def gcs_server():
    """The address of a GCS server on this machine."""
    process, address = buckets.start_server()
    yield address
    process.kill()
    process.wait()


_bucket_numbers = itertools.count()


@pytest.fixture
def bucket(gcs_server, monkeypatch):
    """An empty `bucket.Bucket`, which is what gs:// means to this process."""
    made = buckets.Bucket(gcs_server, f"bucket-{next(_bucket_numbers)}", monkeypatch)
    made.use(PATIENCE_SECONDS=20.0, _LONGEST_PAUSE_SECONDS=0.1)
    yield made
    made.close()


@pytest.fixture
def hub_server(tmp_path_factory, monkeypatch):
    """An empty `fake_hub.Hub`, which is what hf:// means to this process, and an empty cache."""
    made = fake_hub.Hub()
    monkeypatch.setenv("HF_ENDPOINT", made.url)
    cache = str(tmp_path_factory.mktemp("hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", cache)
    yield made
    made.close()
