"""Trained networks as ONNX files that grade, and back from them."""
