"""`nas data`: the table, and what can and cannot be prepared. Nothing downloads."""

import subprocess
import sys

import pytest

from nas.benchmarks.images import tfds_images
from nas.commands import cli
from nas.commands import data as data_command
from nas.core.trial import ConfigError
from nas.data.images import Found


def rows(output: str) -> dict[str, str]:
    return {line.split()[0]: line for line in output.splitlines() if line.strip()}


def test_the_table_names_every_data_set_and_where_it_was_looked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(data_command, "_names", lambda: ["cifar10", "digits", "npz", "tfds"])
    assert data_command.main([]) == 0
    table = rows(capsys.readouterr().out)
    assert "yes" in table["digits"].split() and "1,797 of 8x8x1" in table["digits"]
    assert "no" in table["cifar10"].split() and "nas data prepare cifar10" in table["cifar10"]
    assert "dataset.path=FILE.npz" in table["npz"]
    assert "prepared there: none" in table["tfds"]


def test_every_file_of_conf_dataset_is_in_the_table():
    assert {"cifar10", "digits", "folder", "npz", "tfds"} <= set(data_command._names())


def test_a_set_without_look_is_loaded_to_see(monkeypatch):
    class Module:
        __name__ = "benchmarks.other"

        @staticmethod
        def load(path):
            if path is None:
                raise ConfigError("dataset.path must be set")

    monkeypatch.setattr(data_command, "_open", lambda name: (Module, "load", {"path": None}))
    assert data_command._look("other") == Found(
        ready=False, place="", hint="dataset.path must be set"
    )
    monkeypatch.setattr(data_command, "_open", lambda name: (Module, "load", {"path": "x"}))
    assert data_command._look("other").ready


def test_what_is_here_is_not_prepared_again(capsys):
    assert data_command.main(["prepare", "digits"]) == 0
    assert "digits is ready: 1,797" in capsys.readouterr().out


@pytest.mark.parametrize(
    "args, message",
    [
        (["npz"], "npz stands for data of your choice, .*; set dataset.path=FILE.npz"),
        (["folder"], "folder stands for data of your choice, .*; set dataset.path=FOLDER"),
        (["tfds"], "tfds stands for .*; nas data prepare NAME, then set dataset.name=NAME"),
        (["digits", "--data-dir", "/x"], "--data-dir must be left out for digits"),
        (["no_such_set"], "dataset.name must be a set .* got no_such_set"),
    ],
)
def test_what_cannot_be_prepared_is_told(tmp_path, monkeypatch, args, message):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(ConfigError, match=message):
        data_command.main(["prepare", *args])


def test_the_command_ends_with_status_2_and_one_line(capsys):
    assert cli.main(["data", "prepare", "npz"]) == 2
    assert capsys.readouterr().err.startswith("nas: npz stands for")


def test_prepare_asks_tfds_for_any_name_in_the_folder_given(tmp_path, monkeypatch, capsys):
    asked = []

    def prepare(*, name, data_dir, **settings):
        asked.append((name, data_dir))

    monkeypatch.setattr(tfds_images, "prepare", prepare)
    for name in ("cifar10", "fashion_mnist"):
        data_command.main(["prepare", name, "--data-dir", str(tmp_path)])
    assert asked == [("cifar10", str(tmp_path)), ("fashion_mnist", str(tmp_path))]


def test_a_set_that_must_be_brought_by_hand_says_so(tmp_path):
    with pytest.raises(
        ConfigError, match=r"imagenet2012 cannot be .* by hand|to .*/manual yourself"
    ):
        tfds_images.prepare(name="imagenet2012", data_dir=str(tmp_path))


def test_a_failed_download_is_one_line(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    def download_and_prepare(self):
        raise tfds.download.DownloadError("no such\nhost")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", download_and_prepare)
    with pytest.raises(ConfigError, match="fashion_mnist could not be written to .*no such host"):
        tfds_images.prepare(name="fashion_mnist", data_dir=str(tmp_path))


def test_the_table_needs_no_tensorflow():
    code = (
        "import sys\n"
        "from nas.commands import data as data_command\n"
        "data_command._names = lambda: ['cifar10', 'digits', 'folder', 'npz', 'tfds']\n"
        "data_command.main([])\n"
        "sys.exit('tensorflow' in sys.modules or 'tensorflow_datasets' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
