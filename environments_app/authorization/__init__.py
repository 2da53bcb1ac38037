"""Who may do what: principals, the policy table, break-glass, custody."""
