"""Actions secrets of Forgejo and Gitea as backend."""
