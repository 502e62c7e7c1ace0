"""Import this before TensorFlow, and it computes with oneDNN on every CPU.

Of itself it does so only on CPUs with AVX-512 VNNI or better; on the others training takes two to
three times as long without (scripts/bench/onednn.py). The commands and the scripts do it; `import
nas` does not, as the process may train networks of its user's own: on CPUs with AVX2 alone the
kernel's gradient of a strided 1x1 convolution comes out wrong with it (TensorFlow 2.21), and ours
are written without such convolutions (nas/ops/layers.py). What the environment says stays.
"""

import os

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
