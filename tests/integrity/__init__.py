"""Whether what is stored is what Keeper wrote, of every authenticated model."""
