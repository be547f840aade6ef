"""Files of models before they are used: regular files, NPZ arrays, ONNX graphs, and memory."""
