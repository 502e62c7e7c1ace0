"""Penn Treebank as a TensorFlow Datasets set: each part is one example, its whole text.

It is a file of its own because TensorFlow Datasets takes seconds to import.
"""

from pathlib import Path

import tensorflow_datasets as tfds

from nas.benchmarks.texts.ptb_text import lines
from nas.data.images import PARTS


class PtbMikolov(tfds.core.GeneratorBasedBuilder):
    """Mikolov's ptb.train.txt, ptb.valid.txt and ptb.test.txt."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "The text as it is; words are numbered where it is read."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Put ptb.train.txt, ptb.valid.txt, ptb.test.txt in PTB_DIR."

    def __init__(self, *, text: Path | None = None, **settings):
        """text: the folder of the three files; None if the set is only read."""
        self.text = text
        super().__init__(**settings)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description="Penn Treebank as T. Mikolov prepared it: 10,000 words, the rest <unk>.",
            features=tfds.features.FeaturesDict({"text": tfds.features.Text()}),
        )

    def _split_generators(self, dl_manager):
        folder = self.text if self.text is not None else Path(dl_manager.manual_dir)
        return {part: self._generate_examples(folder / f"ptb.{part}.txt") for part in PARTS}

    def _generate_examples(self, file: Path):
        yield 0, {"text": "\n".join(lines(file))}
