"""Weight sharing on NAS-Bench-201 beside AutoDL-Projects' own code, which was run once.

README.md says which answers the file holds.
"""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hydra.utils import instantiate

from nas.core.skeleton import ImageSkeleton
from nas.engine.proposers import likeliest
from nas.oneshot.gates import ADAM, Gates
from nas.ops.drawn_gates import DrawnGates
from nas.search_spaces.papers.nasbench201.space import NASBench201
from tests.helpers.hydra_configs import composed

SPACE = NASBench201()
SEARCH = ImageSkeleton(image_shape=(8, 8, 3), classes=3, cells=1, channels=2, form="search")


@pytest.fixture(scope="module")
def answers():
    with np.load(Path(__file__).parent / "nasbench201_oneshot.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def net(answers):
    net = SPACE.supernet(SEARCH)
    give(net._ops.made, answers)
    return net


def give(layers, answers, before=""):
    """Gives layers the weights of the reference that lie under `before` and the layer's name."""
    for name, layer in layers.items():
        for weight in layer.weights:
            if f"{before}{name}/{weight.name}" in answers:
                weight.assign(answers[f"{before}{name}/{weight.name}"])
            else:
                assert weight.name.startswith("moving"), weight.path


def learnt(answers, **settings):
    method = Gates(space=SPACE, seed=0, **settings)
    method.weights.assign(answers["alphas"])
    return method


def gradient_of(net, answers, method, choice):
    """Logits, and the gradient of the gates' weights, as in a step of the gates."""
    with tf.GradientTape() as tape:
        logits = net(tf.constant(answers["images"]), choice(), training=True)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(answers["labels"], logits)
        mean = tf.reduce_mean(loss)
    return logits, tape.gradient(mean, method.weights)


def stepped(method, gradient):
    decayed = gradient + ADAM["weight_decay"] * method.weights
    method.optimizer.apply([decayed], tf.constant(ADAM["learning_rate"]), tf.constant(0))
    return method.weights.numpy()


def test_darts(net, answers):
    method = learnt(answers)
    gates = lambda: method.gates(method.weights, None, None)  # noqa: E731
    logits, gradient = gradient_of(net, answers, method, gates)
    np.testing.assert_allclose(logits, answers["darts_logits"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradient, answers["darts_gradient"], rtol=1e-3, atol=1e-6)
    after = stepped(method, gradient)
    np.testing.assert_allclose(after, answers["darts_alphas_after"], atol=2e-6)


def test_gdas(net, answers, monkeypatch):
    """With the reference's Gumbel noise: what is drawn, and the gradient also of what is not."""
    method = learnt(answers, kind="drawn")
    uniform = tf.constant(np.exp(-np.exp(-answers["gumbels"].astype(np.float64))), tf.float32)
    monkeypatch.setattr(tf.random, "stateless_uniform", lambda *_, **__: uniform)
    drawn = method.gates(method.weights, tf.constant(answers["tau"], tf.float32), None)
    assert drawn.numpy().argmax(1).tolist() == answers["gdas_drawn"].tolist()

    def choice():
        tau = tf.constant(answers["tau"], tf.float32)
        return DrawnGates(method.gates(method.weights, tau, None))

    logits, gradient = gradient_of(net, answers, method, choice)
    np.testing.assert_allclose(logits, answers["gdas_logits"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradient, answers["gdas_gradient"], rtol=2e-3, atol=2e-7)
    after = stepped(method, gradient)
    np.testing.assert_allclose(after, answers["gdas_alphas_after"], atol=2e-6)


def test_a_path_in_training_and_evaluated(net, answers):
    """Cells take the moments of the batch; stem, residual blocks and end their averages."""
    path, images = tf.constant(answers["path"], tf.int32), tf.constant(answers["images"])
    logits = net(images, path, training=True)
    np.testing.assert_allclose(logits, answers["path_logits"], rtol=1e-4, atol=1e-5)
    averages = {name: value for name, value in answers.items() if name.startswith("averages/")}
    for name, layer in net._ops.made.items():
        for weight in layer.non_trainable_weights:
            weight.assign(averages.get(f"averages/{name}/{weight.name}", np.full(weight.shape, 7)))
    logits = net(images, path, training=False)
    np.testing.assert_allclose(logits, answers["path_logits_evaluated"], rtol=1e-4, atol=1e-5)


def test_the_likeliest_cells_of_setn(answers):
    """Equal up to rounding; neighbours of nearly equal probability may change places."""
    log_p = learnt(answers, kind="template")._log_probabilities()
    found = likeliest(list(log_p), 100)
    sums = [sum(log_p[e][k] for e, k in enumerate(arch)) for arch in found]
    np.testing.assert_allclose(sums, answers["likeliest_log_p"], atol=1e-5)
    assert {tuple(a) for a in answers["likeliest"].tolist()} == set(found)


def test_the_final_network_of_a_cell(answers):
    model = SPACE.build(tuple(answers["path"].tolist()), SEARCH.replace(form="final"))
    give({layer.name: layer for layer in model.layers if layer.weights}, answers, "final/")
    logits = model(answers["images"], training=True)
    np.testing.assert_allclose(logits, answers["final_logits"], rtol=1e-4, atol=1e-5)
    for layer in model.layers:
        for weight in layer.non_trainable_weights:
            weight.assign(answers[f"final_averages/{layer.name}/{weight.name}"])
    logits = model(answers["images"], training=False)
    np.testing.assert_allclose(logits, answers["final_logits_evaluated"], rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def controller(answers):
    controller = instantiate(composed("controller", "enas_nasbench201"), space=SPACE, seed=0)
    policy = controller.policy
    for layer in range(2):
        own = [answers[f"controller/w_lstm.{w}_l{layer}"] for w in ("weight_ih", "weight_hh")]
        policy.kernels[layer].assign(np.concatenate([w.T for w in own]))
        bias = [answers[f"controller/w_lstm.bias_{w}_l{layer}"] for w in ("ih", "hh")]
        policy.biases[layer].assign(sum(bias))
    policy.start.assign(answers["controller/input_vars"][0])
    policy.embeddings[0].assign(answers["controller/w_embd.weight"])
    policy.out_kernels[0].assign(answers["controller/w_pred.weight"].T)
    policy.out_biases[0].assign(answers["controller/w_pred.bias"])
    return controller


def test_enas_log_probabilities_and_entropies(controller, answers):
    archs = [tuple(arch) for arch in answers["controller_archs"].tolist()]
    log_p = controller.policy.log_prob(archs)
    np.testing.assert_allclose(log_p, answers["controller_log_p"], rtol=1e-6)
    entropies, _ = controller.policy.terms(archs)
    np.testing.assert_allclose(entropies, answers["controller_entropy"], rtol=1e-6)


@pytest.mark.parametrize("epoch", [0, 1])
def test_enas_baselines_and_gradients(controller, answers, epoch):
    """In the first epoch an accuracy is its own baseline; later the baseline stands at 0.3."""
    policy, archs = controller.policy, [tuple(a) for a in answers["controller_archs"].tolist()]
    controller.baseline = float(answers["controller_baseline"]) if epoch else None
    controller.since_moved = 0
    rewards = answers["controller_rewards"].astype(np.float64)
    entropies, _ = policy.terms(archs)
    advantages = controller._advantages(rewards, entropies)
    baselines = rewards + controller.entropy_weight * entropies - advantages
    np.testing.assert_allclose(baselines, answers[f"controller{epoch}_baselines"], rtol=1e-6)
    assert controller.baseline == (0.3 if epoch else None) and controller.since_moved == len(archs)
    gradients = dict(
        zip([id(v) for v in policy.variables], policy.gradient(archs, advantages), strict=True)
    )
    for variable, name, shaped in (
        (policy.start, "input_vars", lambda a: a[0]),
        (policy.embeddings[0], "w_embd.weight", lambda a: a),
        (policy.out_kernels[0], "w_pred.weight", lambda a: a.T),
        (policy.out_biases[0], "w_pred.bias", lambda a: a),
        (policy.biases[1], "w_lstm.bias_hh_l1", lambda a: a),
    ):
        expected = shaped(answers[f"controller{epoch}_gradient/{name}"])
        largest = np.abs(expected).max()
        np.testing.assert_allclose(
            gradients[id(variable)], expected, rtol=2e-3, atol=2e-3 * largest, err_msg=name
        )
