"""What a bundle's card says of single steps of its making."""
