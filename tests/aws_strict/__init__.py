"""AWS as it documents itself, in front of moto, which is laxer; and its failures on demand."""
