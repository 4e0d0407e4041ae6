"""Every test runs on the CPU, with eight fake devices for meshes. Set before JAX is imported."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("NPROC", "16")  # fewer threads than fake devices deadlock jax 0.10 on a small machine
os.environ["XLA_FLAGS"] = " ".join(
    (
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
        # Most programs here run once: half the time of the suite would go into optimising them.
        "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
    )
)
