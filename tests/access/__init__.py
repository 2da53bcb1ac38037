"""Who may do what, at every address: the tables of rights."""
