"""What is kept: secrets, their versions, types and generators, and the keys that seal them."""
