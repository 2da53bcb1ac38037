"""`make demo`: Keeper with AWS Secrets Manager (moto) and Vault (OpenBao) on this machine, to click through."""
