"""Building blocks of neural networks, without any knowledge of environments or models.

perceptron.py: a multilayer perceptron with SiLU activations.
activation.py: the SiLU activation in place, compiled on a CPU.
fused.py: a perceptron's forward pass for planning, with normalisation and biases fused into the weights.
"""
