"""A network is written once, against an `ops`, and interpreted in many ways.

A space writes the network of an architecture as calls of an `ops` (nas/core/ops.py):

    def network(self, ops, arch, skeleton):
        x = ops.relu(ops.conv(ops.image(), 16, (3, 3), name="stem"))
        return ops.classifier(x, skeleton.classes, dropout=0.0)

It never says what a tensor is. That is the interpreter's business, so the model, its cost, its
weights and its description cannot contradict each other:

    interpreter   file                           a tensor is         it gives
    KerasOps      nas/ops/keras.py               a Keras tensor      the model to retrain and save
    TrainingOps   nas/ops/training.py            a Keras tensor      that model as it is trained
    CountOps      nas/ops/count.py               a shape             parameters, flops, memory
    WeightOps     nas/ops/weights.py             a shape             names and shapes of weights
    TensorOps     nas/ops/tensors.py             a graph's tensor    logits, quick to trace
    InferenceOps  nas/ops/inference.py           an eager tensor     the output of any layer
    Recorder      nas/ops/recorder.py            a layer's name      a Description: plain data
    SupernetOps   search_spaces/supernet/ops.py  a tensor            logits, choices left open
    FlatSupernet  search_spaces/supernet/flat.py a tensor            the same, of flat weights

QuickNetwork (nas/ops/quick_network.py) is the network that searches train: WeightOps lists its
weights, TensorOps computes with them. A Description (nas/ops/description.py) can be transformed
(nas/morphism) and written to any interpreter again.
"""
