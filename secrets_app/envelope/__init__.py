"""The envelope: byte format, context and sealing; imports nothing of Keeper but its errors."""
