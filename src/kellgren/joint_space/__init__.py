"""Width of the joint space: the margins of femur and tibia, and what lies between them."""
