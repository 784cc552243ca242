"""The study: XOR, a small Keras model, its fit, and what is shown of it. Importing this package imports no Keras."""

from __future__ import annotations

import os
import platform

# Where XLA's compiler finds a multiplication next to an addition, it rounds once instead of twice (FMA). Where it finds
# them depends on the whole program, so a model's numbers would depend on how many train with it. AVX has no FMA.
if platform.machine().lower() in ("x86_64", "amd64") and "xla_cpu_max_isa" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_max_isa=AVX".strip()
