"""Run folders that keep no trials: one lock, one refusal, and nothing changes where they refuse."""

import pytest

from nas.core.trial import ConfigError
from nas.run import folder as runs

CONFIG = {"seed": 0, "seeds": [0], "space": {"layers": 4}}


def opened(folder, config, **settings):
    return runs.open_folder(folder, config, runs.FolderLock, **settings)


def test_a_folder_is_used_by_one_process_at_a_time(tmp_path):
    with opened(tmp_path, CONFIG):
        for open_files in (runs.FolderLock, runs.Store):
            with pytest.raises(ConfigError, match="run_dir must not be in use"):
                runs.open_folder(tmp_path, CONFIG, open_files)
    opened(tmp_path, CONFIG).close()


def test_a_folder_that_is_refused_stays_as_it_is(tmp_path):
    opened(tmp_path, CONFIG).close()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for open_files in (runs.FolderLock, runs.Store):
        with pytest.raises(ConfigError, match="holds a run with seed=0, got seed=1"):
            runs.open_folder(tmp_path, CONFIG | {"seed": 1}, open_files)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_free_settings_may_differ_and_the_configuration_is_kept_or_replaced(tmp_path):
    more = CONFIG | {"seeds": [0, 1]}
    opened(tmp_path, CONFIG).close()
    opened(tmp_path, more, free={"seeds"}).close()
    assert runs.read_run(tmp_path).seeds == [0]
    opened(tmp_path, more, free={"seeds"}, keep_config=False).close()
    assert runs.read_run(tmp_path).seeds == [0, 1]
