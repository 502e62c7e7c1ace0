"""Import this before TensorFlow, and TensorFlow computes with oneDNN on every CPU.

By itself TensorFlow uses oneDNN only on CPUs with AVX-512 VNNI or better; on others, training
without it takes two to three times as long (scripts/bench/onednn.py). The commands and the scripts
import this module. `import nas` does not, because the process may train its user's own networks: on
CPUs with AVX2 alone, oneDNN computes a wrong gradient for the kernel of a strided 1x1 convolution
(TensorFlow 2.21). Our networks are written without such convolutions (nas/core/ops.py). A value
that the environment already has is kept.
"""

import os

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
