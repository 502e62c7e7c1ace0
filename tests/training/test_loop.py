"""The image loop: one trace, each image counted once, and what only training does."""

import keras
import numpy as np
import pytest

from nas.core.skeleton import ImageSkeleton
from nas.search_spaces.papers.darts.space import DARTS
from nas.search_spaces.papers.nasbench201.space import NASBench201
from nas.training import loop as image
from nas.training.recipe import Recipe, learning_rates
from tests.helpers.small_images import make, some

ONE_CONVOLUTION = (0, 0, 0, 3, 0, 0)


def small_images():
    return make(*some(60, shape=(8, 8, 3)))


def network(data, recipe, **skeleton):
    shape = ImageSkeleton(
        image_shape=data.image_shape, classes=data.classes, channels=4, **skeleton
    )
    return image.build(NASBench201(), ONE_CONVOLUTION, shape, recipe, seed=0)


def test_restarts_have_the_papers_learning_rates():
    """Loshchilov & Hutter's cosine as ENAS has it: 0.05 to 0.0005, first period 10, then twice."""
    recipe = Recipe(
        epochs=30, learning_rate=0.05, min_learning_rate=0.0005, schedule="cosine_restarts",
        restart_first=10, restart_factor=2.0,
    )  # fmt: skip
    rates = learning_rates(recipe, 1)
    assert rates[0] == pytest.approx(0.05) and rates[10] == pytest.approx(0.05)
    assert rates[9] == pytest.approx(0.00171, abs=5e-6)
    assert rates[20] == pytest.approx(0.02525)


def test_steps_and_warm_up_by_hand():
    step = Recipe(epochs=8, learning_rate=1.0, schedule="step")
    np.testing.assert_allclose(
        learning_rates(step, 1), [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01], rtol=1e-6
    )
    warm = Recipe(epochs=4, learning_rate=1.0, schedule="constant", warmup_epochs=2)
    rates = learning_rates(warm, 2)
    assert (np.diff(rates[:4]) > 0).all() and (rates[4:] == 1).all()


def test_evaluation_counts_each_image_once_whatever_the_batch():
    data = small_images()
    model = network(data, Recipe())
    x = (data.valid_images / 255.0 - data.mean) / data.std
    logits = model.predict(x.astype(np.float32), verbose=0).astype(np.float64)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    rows = np.arange(len(x))
    expected = (
        -log_p[rows, data.valid_labels].mean(),
        (logits.argmax(1) == data.valid_labels).mean(),
    )
    for batch in (3, 7, 1000):
        recipe = Recipe(eval_batch_size=batch)
        scores = image.make_evaluate(model, data, recipe, "valid")()
        np.testing.assert_allclose(scores, expected, rtol=1e-4)


def test_all_epochs_are_one_trace():
    data, recipe = small_images(), Recipe(epochs=3, batch_size=16)
    loop = image.EpochLoop(network(data, recipe), data, recipe, seed=0)
    for number in range(3):
        loop.run(np.arange(32, dtype=np.int32).reshape(2, 16), np.full(2, 0.01, np.float32), number)
    assert loop.graph.experimental_get_tracing_count() == 1


@pytest.mark.parametrize(
    "losses, waited",
    [
        ([1.0, 0.9, 0.95], 1),
        ([1.0, 0.9, 0.9, 0.8], 0),
        ([1.0, 1.0, 1.0], 2),
        ([1.0, 0.99995, 0.9999 - 1e-9], 0),  # a step of 0.0001 below the lowest, in two halves
    ],
)
def test_epochs_count_that_did_not_lower_the_loss(losses, waited):
    assert image._waited(losses) == waited


def test_equal_seeds_train_alike():
    data, recipe = small_images(), Recipe(epochs=2, batch_size=16, pad_crop=1, flip=True, cutout=2)
    first, again, other = (
        image.fit(network(data, recipe), data, recipe, seed=seed)["loss"] for seed in (0, 0, 1)
    )
    assert first == again != other


def test_mixed_precision_computes_in_bfloat16_and_keeps_float32_weights():
    data, recipe = small_images(), Recipe(epochs=1, batch_size=16, mixed_precision=True)
    try:
        model = network(data, recipe)
        convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
        assert {layer.compute_dtype for layer in convolutions} == {"bfloat16"}
        assert {v.dtype for v in model.trainable_variables} == {"float32"}
        assert model.output.dtype == "float32"
        assert np.isfinite(image.fit(model, data, recipe, seed=0)["loss"]).all()
    finally:
        keras.config.set_dtype_policy("float32")


def test_paths_are_dropped_and_the_auxiliary_head_learns():
    data, recipe = small_images(), Recipe(epochs=1, batch_size=16)
    shape = ImageSkeleton(
        image_shape=data.image_shape, classes=data.classes, channels=2, drop_path=0.3,
        auxiliary_weight=0.4,
    )  # fmt: skip
    space = DARTS()
    model = image.build(space, space.parse("darts_v2"), shape, recipe, seed=0)
    served = {id(v) for v in model.trainable_variables}
    head = [v for v in model.in_training.model.trainable_variables if id(v) not in served]
    before = [v.numpy().copy() for v in head]
    image.fit(model, data, recipe, seed=0, evaluate_on=None)
    assert head and all((v.numpy() != old).any() for v, old in zip(head, before, strict=True))
    steps = -(-len(data.train_images) // 16)
    assert float(model.in_training.progress) == pytest.approx((steps - 1) / steps)
