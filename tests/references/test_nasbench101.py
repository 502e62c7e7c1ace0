"""NAS-Bench-101's modules against google-research/nasbench: hashes, channels, weights."""

from pathlib import Path

import numpy as np

from nas.core.skeleton import ImageSkeleton
from nas.search_spaces.papers.nasbench101 import NASBench101, vertex_channels

REFERENCE = np.load(Path(__file__).with_name("nasbench101.npz"))
SPACE = NASBench101()
MODULES = [SPACE.parse(str(text)) for text in REFERENCE["modules"]]


def test_the_hashes_of_60_graphs():
    assert [SPACE.key(arch) for arch in MODULES] == REFERENCE["hashes"].tolist()


def test_the_channels_of_their_vertices():
    ours = [vertex_channels(SPACE.module(arch), 128)[1:] for arch in MODULES]
    assert [len(widths) for widths in ours] == REFERENCE["channel_lengths"].tolist()
    assert [width for widths in ours for width in widths] == REFERENCE["channels"].tolist()


def test_the_weights_of_their_networks():
    skeleton = ImageSkeleton(image_shape=(32, 32, 3), classes=10, cells=3, channels=128)
    ours = [SPACE.cost(arch, skeleton).parameters for arch in MODULES]
    assert ours == REFERENCE["parameters"].tolist()
