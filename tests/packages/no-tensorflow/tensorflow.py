"""Stands before TensorFlow on the path: whoever imports it, or Keras, ends with a traceback."""

raise SystemError("TensorFlow was imported")
