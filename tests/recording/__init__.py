"""What every act leaves in the audit log, and that no value is left anywhere else."""
