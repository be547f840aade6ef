"""The engines that run a network from the bytes of its ONNX file, and what each can do here."""
