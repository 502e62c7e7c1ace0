"""A folder of image files: what is read, and one clear line for each thing wrong with it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas.benchmarks.images import folder
from nas.core.trial import ConfigError
from tests.helpers.small_images import equal, make, some


def draw(
    root: Path, *, per_class: int = 10, size=(7, 9), seed: int = 0, names=("cat", "dog")
) -> str:
    rng = np.random.default_rng(seed)
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(per_class):
            pixels = rng.integers(0, 256, [size[0] + i % 3, size[1], 3], dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.{('png', 'jpg', 'JPEG')[i % 3]}")
    return str(root)


def test_a_folder_of_classes_is_read_and_resized(tmp_path):
    path = draw(tmp_path / "mine")
    (tmp_path / "mine" / "cat" / "notes.txt").write_text("left alone")
    (tmp_path / "mine" / ".hidden").mkdir()
    data = folder.load(path=path, image_size=8, test_size=4, valid_size=3)
    sizes = (len(data.train_labels), len(data.valid_labels), len(data.test_labels))
    assert sizes == (13, 3, 4)
    assert data.name == "mine"
    assert data.class_names == ("cat", "dog")
    assert data.image_shape == (8, 8, 3)
    assert folder.load(path=path, image_size=8, channels=1).image_shape == (8, 8, 1)
    assert equal(data, folder.load(path=path, image_size=8, test_size=4, valid_size=3))
    assert folder.look(path=path).contents == "20 files, 2 classes"


def test_images_of_the_right_size_keep_every_pixel(tmp_path):
    (images, labels), names = some(shape=(8, 8, 3)), ("a", "b")
    for i, image in enumerate(images):
        (tmp_path / names[labels[i]]).mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / names[labels[i]] / f"{i}.png")
    data = folder.load(path=str(tmp_path), image_size=8)
    assert equal(data, make(images, labels, valid_size=0.1, test_size=0.2))


def test_a_folder_may_have_its_own_test_split(tmp_path):
    draw(tmp_path / "train")
    draw(tmp_path / "test", per_class=3, seed=1)
    data = folder.load(path=str(tmp_path), image_size=8)
    sizes = (len(data.train_labels), len(data.valid_labels), len(data.test_labels))
    assert sizes == (18, 2, 6)
    assert data.name == tmp_path.name


def test_a_wrong_folder_is_told(tmp_path):
    with pytest.raises(ConfigError, match="dataset.path must be a folder that exists, got None"):
        folder.load()
    with pytest.raises(ConfigError, match="folder that exists, got .*gone; set dataset.path"):
        folder.load(path=str(tmp_path / "gone"))
    path = draw(tmp_path / "mine")
    with pytest.raises(ConfigError, match="dataset.image_size must be a whole number .* got 0"):
        folder.load(path=path, image_size=0)
    with pytest.raises(ConfigError, match=r"dataset.channels must be 1 .* got 4"):
        folder.load(path=path, channels=4)
    (tmp_path / "mine" / "empty").mkdir()
    with pytest.raises(
        ConfigError, match="at least one .png, .jpg, .jpeg file, got none in .*empty"
    ):
        folder.load(path=path)
    assert "empty" in folder.look(path=path).hint
    with pytest.raises(ConfigError, match="at least 2 classes, got \\['cat'\\]"):
        folder.load(path=draw(tmp_path / "single", names=("cat",)))


def test_wrong_parts_of_a_folder_are_told(tmp_path):
    draw(tmp_path / "a" / "test")
    with pytest.raises(ConfigError, match=r"train/ and perhaps test/ .* got \['test'\]"):
        folder.load(path=str(tmp_path / "a"))
    draw(tmp_path / "b" / "train")
    draw(tmp_path / "b" / "val")
    with pytest.raises(ConfigError, match=r"and nothing else, got \['train', 'val'\]"):
        folder.load(path=str(tmp_path / "b"))
    draw(tmp_path / "d" / "train")
    (tmp_path / "d" / "test").mkdir()
    with pytest.raises(ConfigError, match="test must have class folders with images, got none"):
        folder.load(path=str(tmp_path / "d"))
    draw(tmp_path / "c" / "train")
    draw(tmp_path / "c" / "test", names=("cat", "cow"))
    with pytest.raises(ConfigError, match=r"must have the classes of .* got also \['cow'\]"):
        folder.load(path=str(tmp_path / "c"))


def test_it_says_what_it_read_and_what_it_left_out(tmp_path):
    path = draw(tmp_path / "mine")
    (tmp_path / "mine" / "cat" / "notes.txt").write_text("")
    (tmp_path / "mine" / "cat" / "a.webp").write_text("")
    (tmp_path / "mine" / "cat" / "deep").mkdir()
    Image.fromarray(np.zeros([4, 4, 3], np.uint8)).save(
        tmp_path / "mine" / "cat" / "deep" / "b.png"
    )
    assert folder.load(path=path, image_size=8, channels=1).read_as == (
        "mine: 20 images of 2 classes (cat 10, dog 10), of 9x7 to 9x9 pixels, resized to 8x8 "
        "without their proportions, read as grey; left out: 1 .png outside of a class folder, "
        "1 .txt, 1 .webp: 14 train, 2 validate, 4 test"
    )


def test_images_that_memory_cannot_hold_are_refused_before_they_are_read(tmp_path, monkeypatch):
    path = draw(tmp_path / "mine")
    monkeypatch.setattr("nas.data.memory.os.sysconf", lambda name: 1000)
    with pytest.raises(ConfigError, match="20 images must fit into half of .* smaller dataset.im"):
        folder.load(path=path, image_size=128)
    with pytest.raises(ConfigError, match=r"in \[1, 4096\], got 100000"):
        folder.load(path=path, image_size=100000)


def test_a_damaged_image_is_named(tmp_path):
    path = draw(tmp_path / "mine")
    whole = (tmp_path / "mine" / "cat" / "0.png").read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        (tmp_path / "mine" / "dog" / "0.png").write_bytes(content)
        with pytest.raises(ConfigError, match="dog/0.png must be an image that can be read"):
            folder.load(path=path)
    Image.fromarray(np.zeros([4, 4], np.uint16)).save(tmp_path / "mine" / "dog" / "0.png")
    with pytest.raises(ConfigError, match="8 bits a channel, got I;16 in .*dog/0.png"):
        folder.load(path=path)
