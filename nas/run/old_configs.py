"""Gives the configurations that older versions wrote today's names.

A run folder keeps the configuration with which it was begun. These tables hold every class, setting
and choice that has been renamed since, so that old runs continue.
"""

from collections.abc import Mapping
from typing import Any

# What a _target_ was called -> what it is called.
MOVED_TARGETS = {
    "benchmarks.arrays.load": "nas.benchmarks.images.arrays.load",
    "benchmarks.digits.load": "nas.benchmarks.images.digits.load",
    "benchmarks.folder.load": "nas.benchmarks.images.folder.load",
    "benchmarks.grammar.load": "nas.benchmarks.texts.grammar.load",
    "benchmarks.nasbench101.NASBench101Table": "nas.benchmarks.tables.nasbench101.NASBench101Table",
    "benchmarks.nasbench201.NASBench201Table": "nas.benchmarks.tables.nasbench201.NASBench201Table",
    "benchmarks.nasbench201_tasks.NASBench201Tasks": "nas.benchmarks.tables.nasbench201_tasks.NASBench201Tasks",
    "benchmarks.nasbench201_truth.truth": "nas.benchmarks.tables.nasbench201_reference.ranking_reference",
    "benchmarks.ptb.load": "nas.benchmarks.texts.ptb.load",
    "benchmarks.tabulated.TabulatedTable": "nas.benchmarks.tables.tabulated.TabulatedTable",
    "benchmarks.tabulated.digits201": "nas.benchmarks.tables.tabulated.digits201",
    "benchmarks.tfds_images.load": "nas.benchmarks.images.tfds_images.load",
    "controllers.auto_keras.AutoKeras": "nas.controllers.auto_keras.AutoKeras",
    "controllers.bayesian.Bayesian": "nas.controllers.bayesian.Bayesian",
    "controllers.climb.Climb": "nas.controllers.hill_climbing.HillClimbing",
    "controllers.eas.EAS": "nas.controllers.eas.EAS",
    "controllers.enas.ENAS": "nas.controllers.enas.ENAS",
    "controllers.evolution.RegularizedEvolution": "nas.controllers.regularized_evolution.RegularizedEvolution",
    "controllers.genetic.Genetic": "nas.controllers.genetic.Genetic",
    "controllers.local_search.LocalSearch": "nas.controllers.local_search.LocalSearch",
    "controllers.one_plus_lambda.OnePlusLambda": "nas.controllers.one_plus_lambda.OnePlusLambda",
    "controllers.path_level.PathLevel": "nas.controllers.path_level.PathLevel",
    "controllers.ppo.PPO": "nas.controllers.ppo.PPO",
    "controllers.q_learning.QLearning": "nas.controllers.q_learning.QLearning",
    "controllers.random_search.RandomSearch": "nas.controllers.random_search.RandomSearch",
    "controllers.reinforce.Reinforce": "nas.controllers.reinforce.Reinforce",
    "controllers.reinforce_softmax.ReinforceSoftmax": "nas.controllers.reinforce_softmax.ReinforceSoftmax",
    "controllers.tournament.Tournament": "nas.controllers.tournament.Tournament",
    "controllers.transfer.Transfer": "nas.controllers.transfer.Transfer",
    "nas.evaluators.TrainFromScratch": "nas.evaluators.scratch.TrainFromScratch",
    "nas.executors.ProcessExecutor": "nas.engine.executors.ProcessExecutor",
    "nas.executors.SerialExecutor": "nas.engine.executors.SerialExecutor",
    "nas.inherit.InheritFromParent": "nas.evaluators.inherit.InheritFromParent",
    "nas.language_evaluator.TrainLanguageModel": "nas.evaluators.language.TrainLanguageModel",
    "nas.language_recipe.LanguageRecipe": "nas.language.recipe.LanguageRecipe",
    "nas.language_skeleton.LanguageSkeleton": "nas.core.language_skeleton.LanguageSkeleton",
    "nas.oneshot_gates.Gates": "nas.oneshot.gates.Gates",
    "nas.oneshot_paths.Paths": "nas.oneshot.paths.Paths",
    "nas.recipe.Recipe": "nas.training.recipe.Recipe",
    "nas.reused.TrainWithOneGraph": "nas.evaluators.one_graph.TrainWithOneGraph",
    "nas.rewards.LatencyPenalty": "nas.engine.rewards.LatencyPenalty",
    "nas.rewards.accuracy": "nas.engine.rewards.accuracy",
    "nas.rewards.inverse_perplexity": "nas.engine.rewards.inverse_perplexity",
    "nas.rewards.metric": "nas.engine.rewards.metric",
    "nas.skeleton.ImageSkeleton": "nas.core.skeleton.ImageSkeleton",
    "nas.trained_probe.TrainedProbe": "nas.oneshot.probe.TrainedProbe",
    "nas.wandb_log.WandB": "nas.run.wandb_logger.WandB",
    "search_spaces.amoebanet.AmoebaNet": "nas.search_spaces.papers.amoebanet.AmoebaNet",
    "search_spaces.cgp_cnn.CGPCNN": "nas.search_spaces.papers.cgp_cnn.space.CGPCNN",
    "search_spaces.darts.DARTS": "nas.search_spaces.papers.darts.space.DARTS",
    "search_spaces.densenet.DenseNet": "nas.search_spaces.papers.growing.densenet.DenseNet",
    "search_spaces.enas_macro.ENASMacro": "nas.search_spaces.papers.enas_macro.space.ENASMacro",
    "search_spaces.enas_micro.ENASMicro": "nas.search_spaces.papers.enas_micro.space.ENASMicro",
    "search_spaces.genetic_cnn.GeneticCNN": "nas.search_spaces.papers.genetic_cnn.GeneticCNN",
    "search_spaces.hierarchical.Hierarchical": "nas.search_spaces.papers.hierarchical.space.Hierarchical",
    "search_spaces.language_model.LanguageModel": "nas.search_spaces.recurrent.language_model.LanguageModel",
    "search_spaces.metaqnn.MetaQNN": "nas.search_spaces.papers.metaqnn.MetaQNN",
    "search_spaces.morphism_space.MorphismSpace": "nas.search_spaces.papers.growing.slots.MorphismSpace",
    "search_spaces.nasbench101.NASBench101": "nas.search_spaces.papers.nasbench101.NASBench101",
    "search_spaces.nasbench201.NASBench201": "nas.search_spaces.papers.nasbench201.space.NASBench201",
    "search_spaces.nasnet.NASNet": "nas.search_spaces.papers.nasnet.NASNet",
    "search_spaces.path_level.PathLevel": "nas.search_spaces.papers.path_level.space.PathLevelSpace",
    "search_spaces.plain.Plain": "nas.search_spaces.papers.growing.plain.Plain",
    "search_spaces.recurrent.LSTM": "nas.search_spaces.recurrent.cell.LSTM",
    "search_spaces.recurrent_cells.NASCell": "nas.search_spaces.recurrent.published_cells.NASCell",
    "search_spaces.recurrent_cells.NodesCell": "nas.search_spaces.recurrent.published_cells.NodesCell",
    "search_spaces.recurrent_nodes.RecurrentNodes": "nas.search_spaces.papers.highway_cells.space.RecurrentNodes",
    "search_spaces.zoph2017.ZophConv": "nas.search_spaces.papers.zoph2017.ZophConv",
    "search_spaces.zoph2017_rnn.ZophRNN": "nas.search_spaces.papers.zoph2017_rnn.space.ZophRNN",
}

# Settings that moved alike in several targets, and what they moved into.
_LSTM = {name: f"lstm.{name}" for name in ("layers", "units", "init_scale")}
_LSTM_RECORD = {
    "lstm._target_": "nas.controllers.policies.settings.LSTMSettings",
    "lstm.gate_bias": True,
}
_ENCODER = {name: f"encoder.{name}" for name in ("embedding", "units")}
_ENCODER_RECORD = {"encoder._target_": "nas.controllers.policies.settings.EncoderSettings"}
_LEARNING_RATE = {"learning_rate": "adam.learning_rate"}
_ADAM_RECORD = {
    "adam._target_": "nas.controllers.policies.settings.AdamSettings",
    "adam.beta_1": 0.9,
    "adam.beta_2": 0.999,
    "adam.epsilon": 1e-8,
}
_UPDATES = {name: f"updates.{name}" for name in ("episode", "baseline", "entropy_weight")}
_UPDATES_RECORD = {
    "updates._target_": "nas.controllers.growing.settings.UpdateSettings",
    "updates.first_baseline": "mean",
    "updates.mean_entropy": False,
    "train_again": True,
}
_LIMITS = {
    name: f"limits.{name}" for name in ("max_parameters", "max_flops", "max_memory", "max_seconds")
}
_GROWTH = {"growing": "growth.only_grow"} | {
    name: f"growth.{name}" for name in ("only_grow", "doubling", "start_filters", "identity_share")
}
_GROWTH_RECORD = {
    "growth._target_": "nas.search_spaces.papers.growing.settings.GrowthSettings",
}
# Target of today -> old setting -> where the setting is now, dotted ("units" -> "lstm.units"), or
# the places in which it is now.
MOVED_SETTINGS: dict[str, Mapping[str, str | tuple[str, ...]]] = {
    "nas.controllers.auto_keras.AutoKeras": {
        "kernel": "gaussian_process.kernel",
        "length_scale": "gaussian_process.length_scale",
        "noise": "gaussian_process.noise",
        "neighbours": "annealing.neighbours",
        "temperature": "annealing.temperature",
        "min_temperature": "annealing.min_temperature",
        "decay": "annealing.decay",
    },
    "nas.controllers.bayesian.Bayesian": {
        "kernel": "gaussian_process.kernel",
        "length_scale": "gaussian_process.length_scale",
        "noise": "gaussian_process.noise",
    },
    "nas.controllers.eas.EAS": _ENCODER | _LEARNING_RATE | _UPDATES,
    "nas.controllers.enas.ENAS": {
        **_LSTM,
        **_LEARNING_RATE,
        "gate_bias": "lstm.gate_bias",
        "beta_1": "adam.beta_1",
        "beta_2": "adam.beta_2",
        "epsilon": "adam.epsilon",
        "temperature": "logits.temperature",
        "tanh_constant": "logits.tanh_constant",
        "op_tanh_reduce": "logits.op_tanh_reduce",
        "locality": "logits.locality",
        "op_bias": "logits.op_bias",
        "favoured": "logits.favoured",
        "fixed_bias": "logits.fixed_bias",
        "fixed_bias_of": "logits.fixed_bias_of",
        "entropy_weight": "regularization.entropy_weight",
        "entropy_of": "regularization.entropy_of",
        "skip_target": "regularization.skip_target",
        "skip_weight": "regularization.skip_weight",
    },
    "nas.controllers.path_level.PathLevel": _ENCODER | _LEARNING_RATE | _UPDATES,
    "nas.controllers.ppo.PPO": _LSTM | _LEARNING_RATE,
    "nas.controllers.reinforce.Reinforce": _LSTM | _LEARNING_RATE,
    "nas.controllers.transfer.Transfer": _LSTM | _LEARNING_RATE,
    "nas.evaluators.scratch.TrainFromScratch": _LIMITS,
    "nas.evaluators.inherit.InheritFromParent": {
        **_LIMITS,
        "noise": ("morphism.wider_noise", "morphism.deeper_noise"),
    },
    "nas.evaluators.one_graph.TrainWithOneGraph": _LIMITS,
    "nas.evaluators.language.TrainLanguageModel": _LIMITS,
    "nas.oneshot.gates.Gates": {
        "first_temperature": "temperature.first",
        "last_temperature": "temperature.last",
        "learning_rate": "adam.learning_rate",
        "beta_1": "adam.beta_1",
        "beta_2": "adam.beta_2",
        "weight_decay": "adam.weight_decay",
    },
    "nas.search_spaces.papers.growing.densenet.DenseNet": {"growing": "only_grow"},
    "nas.search_spaces.papers.growing.plain.Plain": _GROWTH | {"start_units": "growth.start_units"},
    "nas.search_spaces.papers.growing.slots.MorphismSpace": _GROWTH,
    "nas.search_spaces.papers.path_level.space.PathLevelSpace": {"growing": "only_grow"},
}

# Target of today -> setting that older versions did not have, dotted -> the value it had for them.
ADDED_SETTINGS: dict[str, dict[str, Any]] = {
    "nas.benchmarks.images.arrays.load": {"split": "hash"},
    "nas.benchmarks.images.folder.load": {"split": "hash"},
    "nas.controllers.auto_keras.AutoKeras": {
        "gaussian_process._target_": "nas.controllers.surrogates.settings.GaussianProcessSettings",
        "annealing._target_": "nas.controllers.surrogates.settings.AnnealingSettings",
        "annealing.count_met": False,
    },
    "nas.controllers.bayesian.Bayesian": {
        "gaussian_process._target_": "nas.controllers.surrogates.settings.GaussianProcessSettings",
    },
    "nas.controllers.eas.EAS": _ENCODER_RECORD | _ADAM_RECORD | _UPDATES_RECORD,
    "nas.controllers.enas.ENAS": {
        "baseline_trials": 1,
        "regularization.entropy_gradient": False,
        "lstm._target_": "nas.controllers.policies.settings.LSTMSettings",
        "adam._target_": "nas.controllers.policies.settings.AdamSettings",
        "logits._target_": "nas.controllers.policies.settings.LogitShaping",
        "logits.tied": False,
        "regularization._target_": "nas.controllers.policies.settings.Regularization",
    },
    "nas.controllers.path_level.PathLevel": _ENCODER_RECORD | _ADAM_RECORD | _UPDATES_RECORD,
    "nas.controllers.ppo.PPO": _LSTM_RECORD | _ADAM_RECORD,
    "nas.controllers.reinforce.Reinforce": _LSTM_RECORD | _ADAM_RECORD,
    "nas.controllers.transfer.Transfer": _LSTM_RECORD | _ADAM_RECORD,
    "nas.benchmarks.tables.nasbench201.NASBench201Table": {"judge_all": False},
    "nas.controllers.local_search.LocalSearch": {"num_init": 1},
    "nas.evaluators.scratch.TrainFromScratch": {
        "limits._target_": "nas.evaluators.common.Limits",
        "gives_up": False,
    },
    "nas.search_spaces.papers.metaqnn.MetaQNN": {"pooling_rounds": "down"},
    "nas.search_spaces.papers.nasbench201.space.NASBench201": {"mutation": "edge"},
    "nas.evaluators.inherit.InheritFromParent": {
        "limits._target_": "nas.evaluators.common.Limits",
        "morphism._target_": "nas.morphism.settings.MorphismSettings",
        "morphism.wider_noise": 0.0,
        "morphism.deeper_noise": 0.0,
    },
    "nas.oneshot.gates.Gates": {"weights_first": False},
    "nas.oneshot.paths.Paths": {"statistics_batches": 0},
    "nas.search_spaces.papers.enas_macro.space.ENASMacro": {"late_binding": False},
    "nas.language.recipe.LanguageRecipe": {
        "decay_rule": "l2",
        "clip_decay": False,
        "dropped_activations": True,
        "bptt_deviation": 5.0,
    },
    "nas.training.recipe.Recipe": {"clip_decay": True},
    "nas.evaluators.one_graph.TrainWithOneGraph": {
        "limits._target_": "nas.evaluators.common.SizeLimits"
    },
    "nas.evaluators.language.TrainLanguageModel": {
        "limits._target_": "nas.evaluators.language.LanguageLimits"
    },
    "nas.search_spaces.papers.growing.plain.Plain": _GROWTH_RECORD,
    "nas.search_spaces.papers.growing.slots.MorphismSpace": _GROWTH_RECORD,
}

# Group -> old choice -> what the choice is called now.
MOVED_CHOICES: dict[str, dict[str, str]] = {
    "evaluator": {"reused": "one_graph"},
    "executor": {"lookups": "processes", "trainings": "processes"},
}


def modernised(config: Any) -> Any:
    """The configuration with today's names. One that this version wrote is returned unchanged."""
    if isinstance(config, list):
        return [modernised(item) for item in config]
    if not isinstance(config, Mapping):
        return config
    values = {key: modernised(value) for key, value in config.items()}
    target = values.get("_target_")
    if isinstance(target, str):
        values["_target_"] = MOVED_TARGETS.get(target, target)
        for old, new in MOVED_SETTINGS.get(values["_target_"], {}).items():
            if old in values:
                value = values.pop(old)
                for place in (new,) if isinstance(new, str) else new:
                    _put(values, place, value)
        for added, value in ADDED_SETTINGS.get(values["_target_"], {}).items():
            _put(values, added, value, only_absent=True)
    if isinstance(values.get("choices"), dict):
        values["choices"] = {
            group: MOVED_CHOICES.get(group, {}).get(choice, choice)
            for group, choice in values["choices"].items()
        }
    return values


def _put(values: dict[str, Any], path: str, value: Any, *, only_absent: bool = False) -> None:
    *groups, name = path.split(".")
    for group in groups:
        values = values.setdefault(group, {})
    if not only_absent or name not in values:
        values[name] = value
