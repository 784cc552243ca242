"""The study: XOR, a small Keras model, its fit, and what is shown of it. Importing this package imports no Keras."""
