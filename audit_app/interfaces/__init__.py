"""What other apps inject or call below themselves: keyring, access policy, alerts, nudges."""
