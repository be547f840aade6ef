"""Whether a picture's bytes are whole, and whether its grey values look like decoded damage."""
