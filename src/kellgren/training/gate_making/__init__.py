"""The making of the picture gate: what it must let pass or refuse, drawn on real knees; limits."""
