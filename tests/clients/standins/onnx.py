"""ONNX export is out of scope: a script may import it, and must not call it."""
