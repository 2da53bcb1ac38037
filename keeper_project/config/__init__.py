"""Reading and declaring of environment variables, and checks of them."""
