"""Everything that Keeper holds, handed out in forms that other programs read: the way out."""
