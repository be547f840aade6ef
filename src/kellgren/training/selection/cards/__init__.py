"""What a bundle's card says of its data, and the sets that an existing card gets anew."""
